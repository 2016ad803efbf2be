//! A count that never exceeds the bound its callers bring and never falls below zero.

use crate::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(crate) struct Gauge(AtomicU32);

impl Gauge {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts one more if fewer than `most` are counted.
    ///
    /// Adds first: one instruction in the usual case. Who finds too many takes back; in between another may
    /// be refused who would just have fitted, which at the bound is as good as exact.
    pub(crate) fn enter(&self, most: u32) -> bool {
        let within = self.0.fetch_add(1, Ordering::AcqRel) < most;
        if !within {
            self.0.fetch_sub(1, Ordering::AcqRel);
        }
        within
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}
