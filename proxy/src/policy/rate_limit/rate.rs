//! The rule: a token bucket told by one number (GCRA, ITU-T I.371 §A), the moment at which it is full again.
//!
//! Each request moves that moment one interval further; it may not come to lie more than the burst's time ahead. In any
//! window of `t` that lets through at most `burst + t / interval`, and nobody is refused who leaves an interval between two
//! requests. A bucket whose moment has passed is as good as a new one: nothing has to be kept of it.

use std::time::Duration;

/// Times in nanoseconds: an interval that is no whole number of them is rounded up, less than one in a thousand at the
/// fastest rate that configuration allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    interval: u64,
    /// Of the whole burst.
    span: u64,
}

impl Rate {
    pub(crate) fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        let interval = per.div_ceil(u64::from(requests.max(1))).max(1);
        Self {
            interval,
            span: interval.saturating_mul(u64::from(burst.max(1))),
        }
    }

    /// When the bucket is full again after one more request.
    ///
    /// # Errors
    /// How long to wait until there is room for one.
    pub(crate) fn take(self, full_at: u64, now: u64) -> Result<u64, u64> {
        let next = full_at.max(now).saturating_add(self.interval);
        match (next - now).saturating_sub(self.span) {
            0 => Ok(next),
            wait => Err(wait),
        }
    }

    /// After one request less.
    pub(crate) fn give_back(self, full_at: u64) -> u64 {
        full_at.saturating_sub(self.interval)
    }
}
