//! By how much a rate limit was exceeded, as callers are told.

use std::{fmt, time::Duration};

use usher_config::value::format_duration;

/// A rate limit without room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// How many it lets through.
    pub requests: u32,
    /// In how long.
    pub per: Duration,
    /// Until there is room for one more.
    pub wait: Duration,
    /// Until there is room for a whole burst.
    pub whole: Duration,
}

impl Exceeded {
    /// Whole seconds, rounded up: who comes back then is not refused again for having believed us.
    pub fn again(&self) -> String {
        format!("{} s", seconds(self.wait))
    }
}

/// Whole seconds, rounded up; at least one.
pub fn seconds(duration: Duration) -> u64 {
    let started = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + started).max(1)
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.requests, format_duration(self.per))
    }
}
