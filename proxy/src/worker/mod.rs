//! Thread-per-core: one OS thread each with a current-thread runtime, its connections, pools and counters.
//!
//! Why not one work-stealing runtime: nothing on a request's way then needs `Send`, an atomic reference
//! count or a cross-thread wake-up, and a connection's state stays in one core's cache.

mod drain;

pub use drain::{Drain, DrainTrigger, Phase, drain};
