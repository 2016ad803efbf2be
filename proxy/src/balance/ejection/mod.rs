//! Ejection: takes one failing endpoint out of balancing for a while (elsewhere: outlier detection).
//!
//! Counts *attempts*. The rule is pure (`state`); how many of a service may be out is guarded by its
//! [`Roster`], where a place is reserved before an endpoint goes out, so no race can exceed
//! `maxEjectionPercent`. An ejected endpoint returns through one probe, a real request with a deadline.

mod roster;
mod state;
mod word;

pub use roster::Roster;
pub(crate) use state::{Event, Rules, Standing};
pub(crate) use word::{Moved, Room, Word};

use std::time::Duration;

/// An endpoint's way out or back: a metric and a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was taken out.
    Ejected {
        /// Before it may be probed.
        lasts: Duration,
    },
    /// Its probe succeeded.
    Returned,
}

#[cfg(test)]
mod tests;
