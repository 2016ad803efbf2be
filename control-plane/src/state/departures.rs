//! Which departures of instances all proxies of this control plane have applied, for the others to know. Pure.

use std::collections::BTreeSet;

use crate::registry::shared::Acknowledgement;

/// Departures that some proxy here has not applied yet. Beyond it the others wait until their time is up: a bound on what
/// each control plane writes into the store.
const BEHIND_MAX: usize = 1_000;

/// What to tell the others.
#[derive(Debug, Default)]
pub(super) struct Departures {
    up_to: u64,
    behind: BTreeSet<u64>,
    /// Where our table is.
    latest: u64,
    /// There are departures after `up_to` that `behind` does not name: it stays until all are over.
    is_held: bool,
}

impl Departures {
    /// Events up to `position` are in our table, of those with departures at these positions.
    pub(super) fn seen(&mut self, position: u64, departed: impl IntoIterator<Item = u64>) {
        self.behind.extend(departed);
        self.is_held |= self.behind.len() > BEHIND_MAX;
        self.latest = self.latest.max(position);
        self.settle();
    }

    /// The same, of departures that nobody knows the positions of: they are missing from a list of all that there is.
    pub(super) fn missed(&mut self, position: u64) {
        self.is_held = true;
        self.seen(position, [position]);
    }

    /// Every proxy has applied it, or is no longer waited for.
    pub(super) fn applied(&mut self, position: u64) {
        self.behind.remove(&position);
        self.settle();
    }

    pub(super) fn acknowledgement(&self) -> Acknowledgement {
        let behind = self.behind.iter().copied().take(BEHIND_MAX);
        Acknowledgement {
            up_to: self.up_to,
            behind: behind.collect(),
        }
    }

    fn settle(&mut self) {
        self.is_held &= !self.behind.is_empty();
        if !self.is_held {
            self.up_to = self.latest;
        }
    }
}

#[cfg(test)]
mod tests;
