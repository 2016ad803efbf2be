//! Which departures of instances all proxies of this control plane have applied, for the others to know. Pure.

use std::collections::BTreeMap;

use crate::registry::shared::Acknowledgement;

/// Departures that some proxy here has not applied yet. Beyond it the others wait until their time is up: a bound on what
/// each control plane writes into the store.
const BEHIND_MAX: usize = 1_000;

/// What to tell the others.
#[derive(Debug, Default)]
pub(super) struct Departures {
    up_to: u64,
    /// How many departures stand at each position: those that one lease's end, or one list, tells of share it.
    behind: BTreeMap<u64, u32>,
    /// Where our table is.
    latest: u64,
    /// How often the store was set back. Positions come again then, of other departures.
    era: u32,
    /// There are departures after `up_to` that `behind` does not name: it stays until all are over.
    is_held: bool,
}

impl Departures {
    /// Events up to `position` are in our table, of those with departures at these positions.
    pub(super) fn seen(&mut self, position: u64, departed: impl IntoIterator<Item = u64>) {
        for position in departed {
            *self.behind.entry(position).or_default() += 1;
        }
        self.is_held |= self.behind.len() > BEHIND_MAX;
        self.latest = self.latest.max(position);
        self.settle();
    }

    /// The same, of as many departures that nobody knows the positions of: they are missing from a list of all that
    /// there is.
    pub(super) fn missed(&mut self, position: u64, departed: usize) {
        self.is_held |= departed > 0;
        self.seen(position, std::iter::repeat_n(position, departed));
    }

    /// The store is one from before all that was seen.
    pub(super) fn set_back(&mut self) {
        let era = self.era.wrapping_add(1);
        *self = Self {
            era,
            ..Self::default()
        };
    }

    pub(super) fn era(&self) -> u32 {
        self.era
    }

    /// Every proxy has applied one of those at this position of an era, or is no longer waited for.
    pub(super) fn applied(&mut self, position: u64, era: u32) {
        if era != self.era {
            return;
        }
        if let Some(open) = self.behind.get_mut(&position) {
            *open -= 1;
            if *open == 0 {
                self.behind.remove(&position);
            }
        }
        self.settle();
    }

    pub(super) fn acknowledgement(&self) -> Acknowledgement {
        let behind = self.behind.keys().copied().take(BEHIND_MAX);
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
