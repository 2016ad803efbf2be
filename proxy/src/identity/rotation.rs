//! When to renew the SVID: at half its life, spread by ± 5 %, and ever again until it works.
//!
//! Half leaves 12 hours of a 24-hour SVID for a control plane that is down; the spread keeps workloads that
//! started together from renewing together. An SVID that ends with its root, or comes from a clock that differs from ours,
//! may be past its half when it is new: the next one would be no better, so it is not asked for at once. When another root
//! signs, everybody takes an SVID under that one within half a minute.
//! Pure: time and chance are arguments.

use std::time::{Duration, SystemTime};

use crate::tls::Leaf;

/// Share of its life after which an SVID is renewed.
pub const RENEW_AT: f64 = 0.5;
/// Spread around [`RENEW_AT`], to both sides, as a share of the life.
pub const RENEW_AT_JITTER: f64 = 0.05;

/// From one SVID to the next at least, less up to half of it for the spread. A minute is nothing of 24 hours, and asks no
/// control plane for more than it has to spare at the end of a root.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// When another root begins to sign, all SVIDs of the mesh are renewed within this: ten thousand of them are a third of one
/// core's signatures for half a minute.
const FOLLOW_WITHIN: Duration = Duration::from_secs(30);

/// How rarely a control plane that does not follow is asked.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(3600);

const RETRY_MIN: Duration = Duration::from_secs(1);
/// Of the 12 hours left, five minutes are nothing; and a control plane that came back is noticed soon.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// What became of the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// There was none in this run.
    None,
    /// A new SVID.
    Renewed {
        /// When.
        at: SystemTime,
    },
    /// None.
    Failed {
        /// How many times in a row.
        count: u32,
        /// When the last time.
        at: SystemTime,
    },
}

impl Last {
    /// As known at `now`: a clock that was ahead, and has been set back, must not keep us waiting until then.
    #[must_use]
    pub fn known_at(self, now: SystemTime) -> Self {
        match self {
            Self::None => Self::None,
            Self::Renewed { at } => Self::Renewed { at: at.min(now) },
            Self::Failed { count, at } => Self::Failed {
                count,
                at: at.min(now),
            },
        }
    }

    /// After one more failure.
    #[must_use]
    pub fn failed(self, at: SystemTime) -> Self {
        let before = match self {
            Self::Failed { count, .. } => count,
            Self::None | Self::Renewed { .. } => 0,
        };
        Self::Failed {
            count: before.saturating_add(1),
            at,
        }
    }
}

/// What is shown to get the next SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The current one.
    Svid,
    /// It has ended: only a token helps.
    Token,
}

/// When the next attempt is due; `chance` is uniform in `0.0..1.0` and the same until the attempt is made.
pub fn due(leaf: &Leaf, last: Last, chance: f64) -> SystemTime {
    let chance = chance.clamp(0.0, 1.0);
    let half = share(leaf, RENEW_AT + RENEW_AT_JITTER * (2.0 * chance - 1.0));
    // Half of it to all of it.
    let spread = |wait: Duration| wait.mul_f64(0.5 + chance / 2.0);
    match last {
        Last::None => half,
        Last::Renewed { at } => half.max(at + spread(RENEW_EVERY)),
        Last::Failed { count, at } => {
            let doublings = count.saturating_sub(1).min(16);
            let full = RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX);
            at + spread(full)
        }
    }
}

/// Under a root that signs no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldRoot {
    /// Since when, as far as we know.
    pub since: SystemTime,
    /// How many SVIDs were under it all the same since then.
    pub stayed: u32,
}

/// The same for an SVID under an old root: soon. Once renewed and still under that root, its control plane has not followed yet,
/// and is asked again in a while; that may be for long, as a control plane with given files follows when those do.
pub fn due_under_old_root((leaf, old): (&Leaf, OldRoot), last: Last, chance: f64) -> SystemTime {
    let anyway = due(leaf, last, chance);
    let chance = chance.clamp(0.0, 1.0);
    match last {
        Last::Failed { .. } => anyway,
        Last::Renewed { at } if old.stayed > 0 => {
            let doublings = (old.stayed - 1).min(16);
            let wait = FOLLOW_WITHIN
                .saturating_mul(1 << doublings)
                .min(ASK_AGAIN_MAX);
            anyway.min(at + wait.mul_f64(0.5 + chance / 2.0))
        }
        Last::None | Last::Renewed { .. } => anyway.min(old.since + FOLLOW_WITHIN.mul_f64(chance)),
    }
}

/// Whether an SVID that is new at `now` has so little left that only the bound on renewals keeps us from asking for the
/// next one at once.
pub fn is_short(leaf: &Leaf, now: SystemTime) -> bool {
    share(leaf, RENEW_AT) < now + RENEW_EVERY
}

/// When such a share of its life is over.
fn share(leaf: &Leaf, share: f64) -> SystemTime {
    let life = leaf.not_after.duration_since(leaf.not_before);
    leaf.not_before + life.unwrap_or_default().mul_f64(share)
}

/// What to show at `now`.
pub fn proof(leaf: &Leaf, now: SystemTime) -> Proof {
    if leaf.holds_at(now) {
        Proof::Svid
    } else {
        Proof::Token
    }
}
