//! File descriptors: each connection that is carried takes two, and what starts us allows 1,024 as a rule.
//!
//! The soft limit is a courtesy to programs that use `select`, which we are not: the hard one is meant.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::accept::CONNECTIONS_MAX;

/// Beyond what a sidecar has by its default limits: 1,024 connections to a service, as many from callers, both ends of each.
const ENOUGH: u64 = 4_096 + 256;

/// Raises what this process may have open to what it could. `workers`: of which each takes in so many connections.
pub(super) fn raise(workers: usize) {
    let wanted = wanted(workers);
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return warn!(%error, "cannot tell how many descriptors may be open"),
    };
    let raised = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            warn!(%error, soft, hard, "cannot raise the number of descriptors that may be open");
            soft
        }
    };
    match enough(raised, wanted) {
        false => warn!(
            allowed = raised,
            wanted,
            "few descriptors may be open: connections beyond have to wait; raise the hard limit (LimitNOFILE, ulimit -Hn)"
        ),
        true => info!(
            before = soft,
            allowed = raised,
            "descriptors that may be open"
        ),
    }
}

/// Whether somebody should raise the limit. `wanted` is what all workers could take in together, which few ever do.
fn enough(allowed: u64, wanted: u64) -> bool {
    allowed >= wanted.min(ENOUGH)
}

/// Both ends of every connection, and some for ourselves.
fn wanted(workers: usize) -> u64 {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    u64::from(CONNECTIONS_MAX)
        .saturating_mul(workers)
        .saturating_mul(2)
        .saturating_add(256)
}

#[cfg(test)]
mod tests;
