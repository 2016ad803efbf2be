//! Ten buckets of a sliding window that any thread may count into without a lock.
//!
//! A bucket is one word: the slot of time it counts, and the count. A slot that comes round again finds
//! an old stamp and starts from zero. Slots are compared modulo 2³².

use super::{AtomicU64, Ordering};

/// Buckets per window: the error at its edge is at most a tenth.
pub(crate) const BUCKETS: u32 = 10;

const COUNT_MASK: u64 = 0xffff_ffff;

/// A count over the last ten slots.
#[derive(Debug)]
pub(crate) struct Ring {
    cells: [AtomicU64; BUCKETS as usize],
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self {
            cells: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Counts one in `slot`. About 5 ns uncontended.
    pub(crate) fn add(&self, slot: u32) {
        let Some(cell) = self.cell(slot) else { return };
        let step = |word: u64| {
            let count = if stamp(word) == slot {
                word & COUNT_MASK
            } else {
                0
            };
            // Saturating: a full bucket never spills into its stamp.
            Some(u64::from(slot) << 32 | (count + 1).min(COUNT_MASK))
        };
        let _ = cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
    }

    /// Takes one back from `slot`, if it is still counted. Never below zero.
    pub(crate) fn take_back(&self, slot: u32) {
        let Some(cell) = self.cell(slot) else { return };
        let step = |word: u64| (stamp(word) == slot && word & COUNT_MASK > 0).then(|| word - 1);
        let _ = cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
    }

    /// What was counted in `slot` and the nine before it.
    pub(crate) fn sum(&self, slot: u32) -> u64 {
        self.sum_of(slot, BUCKETS)
    }

    /// What was counted in `slot` and those before it, `slots` in all and ten at most.
    pub(crate) fn sum_of(&self, slot: u32, slots: u32) -> u64 {
        let counts = |cell: &AtomicU64| {
            let word = cell.load(Ordering::SeqCst);
            if slot.wrapping_sub(stamp(word)) < slots.min(BUCKETS) {
                word & COUNT_MASK
            } else {
                0
            }
        };
        self.cells.iter().map(counts).sum()
    }

    fn cell(&self, slot: u32) -> Option<&AtomicU64> {
        self.cells.get((slot % BUCKETS) as usize)
    }
}

const fn stamp(word: u64) -> u32 {
    (word >> 32) as u32
}
