//! Shared words and rings: the atomics that all workers see, behind one name so that loom can replace them.
//!
//! `tests/loom.rs` includes the leaf files that use this module with loom's types in its place, so every
//! interleaving of the shells is tried without a `cfg` that would rebuild (and break) our dependencies.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) mod ring;
