//! How many of a service's endpoints are out, and how many may be.

use crate::atomic::{AtomicU32, Ordering};

/// One service's count of ejected endpoints, shared by its endpoints' states.
#[derive(Debug)]
pub struct Roster {
    size: AtomicU32,
    out: AtomicU32,
}

impl Roster {
    /// Of a service without endpoints.
    pub fn new() -> Self {
        Self {
            size: AtomicU32::new(0),
            out: AtomicU32::new(0),
        }
    }

    /// How many endpoints could be chosen if none were out: set when a snapshot is applied.
    pub fn resize(&self, endpoints: u32) {
        self.size.store(endpoints, Ordering::Release);
    }

    /// How many are out: the gauge `usher_ejected_endpoints`.
    pub fn ejected(&self) -> u32 {
        self.out.load(Ordering::Acquire)
    }

    /// Reserves a place outside if `percent` and `min_ready` leave one. Rounds down: half of three is one.
    pub(crate) fn reserve(&self, percent: u8, min_ready: u32) -> bool {
        let size = self.size.load(Ordering::Acquire);
        let share = u64::from(size) * u64::from(percent) / 100;
        let most = u32::try_from(share)
            .unwrap_or(u32::MAX)
            .min(size.saturating_sub(min_ready));
        let step = |out: u32| (out < most).then(|| out + 1);
        self.out
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
            .is_ok()
    }

    /// Gives a reserved place back.
    pub(crate) fn release(&self) {
        let step = |out: u32| out.checked_sub(1);
        let _ = self
            .out
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self::new()
    }
}
