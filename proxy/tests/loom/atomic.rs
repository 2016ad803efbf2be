//! Loom's atomics where the proxy has the standard library's.

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[path = "../../src/atomic/ring.rs"]
pub(crate) mod ring;
