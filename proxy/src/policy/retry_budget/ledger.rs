//! The retries that were spent, so that many threads together never overspend.

use crate::atomic::{AtomicU64, Ordering, ring::Ring};

/// Spent retries of an interval, and how much of the minimum rate is used.
#[derive(Debug)]
pub(crate) struct Ledger {
    retries: Ring,
    /// `slot 32 | count 32` of the current minimum interval.
    minimum: AtomicU64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            retries: Ring::new(),
            minimum: AtomicU64::new(0),
        }
    }

    /// Spends one if at most `afforded` are spent in the interval afterwards.
    ///
    /// Adds first and looks afterwards: whoever adds last sees everybody's, so no two can both believe
    /// that they took the last one.
    pub(crate) fn spend(&self, slot: u32, afforded: u64) -> bool {
        self.retries.add(slot);
        let within = self.retries.sum(slot) <= afforded;
        if !within {
            self.retries.take_back(slot);
        }
        within
    }

    /// Spends one of the `most` that every minimum interval has.
    pub(crate) fn spend_minimum(&self, slot: u32, minimum_slot: u32, most: u32) -> bool {
        let step = |word: u64| {
            let used = if word >> 32 == u64::from(minimum_slot) {
                word & 0xffff_ffff
            } else {
                0
            };
            (used < u64::from(most)).then(|| u64::from(minimum_slot) << 32 | (used + 1))
        };
        let granted = self
            .minimum
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
            .is_ok();
        if granted {
            self.retries.add(slot);
        }
        granted
    }

    pub(crate) fn spent(&self, slot: u32) -> u64 {
        self.retries.sum(slot)
    }
}
