//! When to renew the SVID: at half its life, spread by ± 5 %, and ever again until it works.
//!
//! Half leaves 12 hours of a 24-hour SVID for a control plane that is down; the spread keeps workloads that
//! started together from renewing together. Pure: time and chance are arguments.

use std::time::{Duration, SystemTime};

use crate::tls::Leaf;

/// Share of its life after which an SVID is renewed.
pub const RENEW_AT: f64 = 0.5;
/// Spread around [`RENEW_AT`], to both sides, as a share of the life.
pub const RENEW_AT_JITTER: f64 = 0.05;

const RETRY_MIN: Duration = Duration::from_secs(1);
/// Of the 12 hours left, five minutes are nothing; and a control plane that came back is noticed soon.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Attempts that failed since the last SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many, in a row.
    pub count: u32,
    /// When the last one did.
    pub last: SystemTime,
}

/// What is shown to get the next SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The current one.
    Svid,
    /// It has ended: only a join token helps.
    JoinToken,
}

/// When the next attempt is due; `chance` is uniform in `0.0..1.0` and the same until the attempt is made.
pub fn due(leaf: &Leaf, failures: Option<Failures>, chance: f64) -> SystemTime {
    let chance = chance.clamp(0.0, 1.0);
    match failures {
        None => {
            let life = leaf
                .not_after
                .duration_since(leaf.not_before)
                .unwrap_or_default();
            leaf.not_before + life.mul_f64(RENEW_AT + RENEW_AT_JITTER * (2.0 * chance - 1.0))
        }
        Some(Failures { count, last }) => {
            let doublings = count.saturating_sub(1).min(16);
            let full = RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX);
            last + full.mul_f64(0.5 + chance / 2.0)
        }
    }
}

/// What to show at `now`.
pub fn proof(leaf: &Leaf, now: SystemTime) -> Proof {
    if leaf.holds_at(now) {
        Proof::Svid
    } else {
        Proof::JoinToken
    }
}
