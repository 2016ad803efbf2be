//! File descriptors: each sidecar takes one, and what starts us allows 1,024 as a rule.
//!
//! The soft limit is a courtesy to programs that use `select`, which we are not: the hard one is meant.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::listener::CONNECTIONS_MAX;

/// The store, the other doors, watchers.
const OURS: u64 = 512;

/// Raises what this process may have open to what it could.
pub(super) fn raise() {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return warn!(%error, "cannot tell how many descriptors may be open"),
    };
    let allowed = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            warn!(%error, soft, hard, "cannot raise the number of descriptors that may be open");
            soft
        }
    };
    let wanted = u64::try_from(CONNECTIONS_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(OURS);
    match allowed < wanted {
        true => warn!(
            allowed,
            wanted,
            "few descriptors may be open: sidecars beyond have to wait; raise the hard limit (LimitNOFILE, ulimit -Hn)"
        ),
        false => info!(before = soft, allowed, "descriptors that may be open"),
    }
}
