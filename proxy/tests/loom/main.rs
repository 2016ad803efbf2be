//! Every interleaving of the lock-free shells, tried by loom (`cargo test -p usher-proxy --test loom`).
//!
//! The usual way, `--cfg loom`, rebuilds every dependency and breaks those that know the flag (tokio). So
//! the shells' leaf files, which reach atomics only through `crate::atomic`, are included here once more,
//! with loom's atomics in that place. Shells are small and free of everything else for this reason.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "only what the models use of the included files is alive here"
)]

mod atomic;
mod breaker;
mod budget;
mod ejection;
mod limits;
mod rate_limit;

#[path = "../../src/clock.rs"]
mod clock;
use usher_config::decide::random;

/// Tries every interleaving with at most three preemptions: more than any known bug of this kind has needed.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
