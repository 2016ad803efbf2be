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
    /// Departures after `up_to` were not counted: it stays until all are over.
    overflowed: bool,
}

impl Departures {
    /// Events up to `position` are in our table, of those with these departures.
    pub(super) fn seen(&mut self, position: u64, departed: impl IntoIterator<Item = u64>) {
        self.behind.extend(departed);
        self.overflowed |= self.behind.len() > BEHIND_MAX;
        if !self.overflowed {
            self.up_to = self.up_to.max(position);
        }
    }

    /// Every proxy has applied it, or is no longer waited for.
    pub(super) fn applied(&mut self, position: u64) {
        self.behind.remove(&position);
        self.overflowed &= !self.behind.is_empty();
    }

    pub(super) fn acknowledgement(&self) -> Acknowledgement {
        let (up_to, behind) = (self.up_to, &self.behind);
        Acknowledgement {
            up_to,
            behind: behind.iter().copied().take(BEHIND_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
