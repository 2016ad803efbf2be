//! When to renew the SVID: at half its life, spread by ± 5 %, and ever again until it works.
//!
//! Half leaves 12 hours of a 24-hour SVID for a control plane that is down; the spread keeps workloads that
//! started together from renewing together. Pure: `now` and chance are arguments.

use std::time::{Duration, SystemTime};

use crate::tls::Leaf;

/// Share of its life after which an SVID is renewed.
pub const RENEW_AT: f64 = 0.5;
/// Spread around [`RENEW_AT`], to both sides, as a share of the life.
pub const RENEW_AT_JITTER: f64 = 0.05;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// What to do about the SVID next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Show the SVID to get the next one, after this wait.
    RenewAfter(Duration),
    /// It has ended: only a join token helps, after this wait.
    AttestAfter(Duration),
}

/// The next step for `leaf` after `failures` failed attempts in a row; `chance` is uniform in `0.0..1.0`.
pub fn next_attempt(leaf: &Leaf, now: SystemTime, failures: u32, chance: f64) -> Attempt {
    let left = leaf.not_after.duration_since(now).unwrap_or_default();
    if left.is_zero() {
        return Attempt::AttestAfter(retry(failures, chance));
    }
    if failures > 0 {
        return Attempt::RenewAfter(retry(failures, chance).min(left));
    }
    let life = leaf
        .not_after
        .duration_since(leaf.not_before)
        .unwrap_or_default();
    let share = RENEW_AT + RENEW_AT_JITTER * (2.0 * chance - 1.0);
    let due = leaf.not_before + life.mul_f64(share.clamp(0.0, 1.0));
    Attempt::RenewAfter(due.duration_since(now).unwrap_or_default())
}

/// Exponential with half jitter: 1 s, 2 s … 5 min; none before the first attempt.
fn retry(failures: u32, chance: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let full = RETRY_MIN
        .saturating_mul(1 << doublings.min(16))
        .min(RETRY_MAX);
    full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}
