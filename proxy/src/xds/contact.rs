//! How long the control plane has been silent: traffic goes on without it, but not for ever.
//!
//! Pure: time is an argument. The shell counts an open stream as being heard, because keep-alives end one that
//! leads nowhere.

use std::time::{Duration, Instant};

/// From then on somebody has to act: a quarter of an SVID's life, half of what is served at least.
pub(super) const SILENT_TOO_LONG: Duration = Duration::from_secs(6 * 3600);

/// Since when there has been nobody.
#[derive(Debug)]
pub(super) struct Contact {
    last: Instant,
    warned: bool,
}

impl Contact {
    /// A process that begins counts as having been heard: it has just attested, or will say so itself.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            warned: false,
        }
    }

    /// The control plane is there.
    pub(super) fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The length of a silence that has just become too long: once for each.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.last);
        let overdue = silent >= SILENT_TOO_LONG && !self.warned;
        self.warned |= overdue;
        overdue.then_some(silent)
    }
}

#[cfg(test)]
mod tests;
