//! What the control plane is told of callers, and when again. Pure: `now` is an argument.
//!
//! It goes with renewals of the lease, so every few seconds at most, and only if there is something new: who called
//! before and calls still is news once in [`AGAIN_AFTER`]. A registration says all of it, to whichever control plane.

use std::{collections::HashMap, time::Duration};

use usher_config::model::PlaintextCallers;

use crate::clock::Tick;

use super::table::{Seen, Who};

/// How old what the control plane knows of a caller may be. Small beside the day for which it is remembered, and one
/// write of a shared store in it.
pub const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// What was told of each caller.
#[derive(Debug, Default)]
pub struct Told(HashMap<Who, Seen>);

impl Told {
    /// Whether there is something new in what is `tellable`.
    pub fn is_old(&self, tellable: &[Seen]) -> bool {
        !tellable.iter().any(|seen| self.is_news(seen))
    }

    /// It has arrived, all that was seen until `now`.
    pub fn remember(&mut self, told: &[Seen], now: Tick) {
        // Who is not among the first any more was told all the same, and may be again in a moment.
        self.0.retain(|_, one| now.since(one.last) < AGAIN_AFTER);
        self.0.extend(told.iter().map(|one| (one.who, *one)));
    }

    /// Of those seen, whom the control plane is told of: as many as fit into a message, those of whom it has not heard before
    /// the others, so that a crowd hides nobody.
    pub fn tellable(&self, seen: &[Seen]) -> Vec<Seen> {
        let mut told = seen.to_vec();
        // Stable: among both, who was seen last goes first.
        told.sort_by_key(|one| !self.is_news(one));
        told.truncate(PlaintextCallers::MAX);
        told
    }

    fn is_news(&self, seen: &Seen) -> bool {
        let Some(known) = self.0.get(&seen.who) else {
            return true;
        };
        let is_due = |now: Tick, known: Tick| now.since(known) >= AGAIN_AFTER;
        let refused_again = match (seen.refused, known.refused) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(now), Some(known)) => is_due(now, known),
        };
        // Who is let in again after it was refused would be locked out again.
        let other_fate = seen.is_let_in() != known.is_let_in();
        other_fate || refused_again || is_due(seen.last, known.last)
    }
}

#[cfg(test)]
mod tests;
