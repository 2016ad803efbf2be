//! When a burst of changes is over. Pure: `now` is an argument.
//!
//! Ten instances that start together should be one push, but a mesh that never rests must still be told.

use std::time::{Duration, Instant};

/// A burst ends after this long without a change: below what anybody notices, above the gap between the events
/// of one cause.
pub(super) const QUIET: Duration = Duration::from_millis(10);

/// A burst ends after this long in any case.
pub(super) const MAX: Duration = Duration::from_millis(100);

/// A burst that is going on, if any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Debounce(Option<Burst>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Debounce {
    /// Something changed.
    pub fn changed(&mut self, now: Instant) {
        let first = self.0.map_or(now, |burst| burst.first);
        self.0 = Some(Burst { first, last: now });
    }

    /// When to act; `None`: nothing has changed.
    pub fn due(&self) -> Option<Instant> {
        self.0
            .map(|burst| (burst.last + QUIET).min(burst.first + MAX))
    }

    /// It was acted on.
    pub fn done(&mut self) {
        self.0 = None;
    }
}
