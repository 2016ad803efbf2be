//! File descriptors: each sidecar takes one, and what starts us allows 1,024 as a rule.
//!
//! The soft limit is a courtesy to programs that use `select`, which we are not: the hard one is meant. What sidecars take of
//! it is bounded, so that the store and the other doors always have theirs.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::listener::CONNECTIONS_MAX;

/// The store, the other doors, watchers.
const OURS: u64 = 512;

/// As many sidecars as most meshes have. Where there is less room than for them, that is said at the start; else once they
/// are there (the listener says so).
const ENOUGH: usize = 4_000;

/// There is always room for some.
const CONNECTIONS_MIN: usize = 64;

/// Raises what this process may have open to what it could; the answer is how many connections of sidecars there is room for.
pub(super) fn raise() -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            warn!(%error, "cannot tell how many descriptors may be open");
            return CONNECTIONS_MAX;
        }
    };
    let allowed = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            warn!(%error, soft, hard, "cannot raise the number of descriptors that may be open");
            soft
        }
    };
    let sidecars = room(allowed);
    match sidecars < ENOUGH {
        true => warn!(
            allowed,
            sidecars,
            "few descriptors may be open: sidecars beyond have to wait; raise the hard limit (LimitNOFILE, ulimit -Hn)"
        ),
        false => info!(
            before = soft,
            allowed, sidecars, "descriptors that may be open"
        ),
    }
    sidecars
}

/// For how many connections of sidecars.
fn room(allowed: u64) -> usize {
    let left = usize::try_from(allowed.saturating_sub(OURS)).unwrap_or(usize::MAX);
    left.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecars_have_what_is_left_and_a_warning_is_for_who_has_too_little() {
        for (allowed, sidecars, is_enough) in [
            (100, 64, false),
            (1_024, 512, false),
            (4_096, 3_584, false),
            (20_000, 19_488, true),
            (1_048_576, 20_000, true),
            (u64::MAX, 20_000, true),
        ] {
            assert_eq!(room(allowed), sidecars);
            assert_eq!(room(allowed) >= ENOUGH, is_enough, "{allowed}");
        }
    }
}
