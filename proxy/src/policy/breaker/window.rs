//! What happened in the last window: ten buckets per worker, summed by whoever may open.
//!
//! Each worker counts in its own cache lines; only the one that might open the breaker reads them all. A
//! bucket is stamped with slot and generation, so a closed breaker starts from zero without a sweep.
//! Counts are statistics: a reader may see a bucket between two additions, never a wrong stamp's counts.

use std::time::Duration;

use crate::{
    atomic::{AtomicU32, AtomicU64, Ordering},
    clock::Tick,
};

const BUCKETS: usize = 10;
const SLOTS: u64 = BUCKETS as u64;
const NEVER: u64 = u64::MAX;

/// Sums over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Exchanges.
    pub total: u64,
    /// Failed ones.
    pub failures: u64,
    /// Slow ones, failed or not.
    pub slow: u64,
}

#[derive(Debug)]
struct Bucket {
    stamp: AtomicU64,
    total: AtomicU32,
    failures: AtomicU32,
    slow: AtomicU32,
}

/// Aligned so that two workers never write one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Shard([Bucket; BUCKETS]);

/// The window of one breaker.
#[derive(Debug)]
pub(crate) struct Window {
    shards: Box<[Shard]>,
    bucket_ms: u64,
    /// Slot of the latest failure or slow call: while it is out of the window, success costs no sum.
    latest_bad: AtomicU64,
}

/// How one exchange counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

impl Window {
    pub(crate) fn new(length: Duration, workers: usize) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            shards: (0..workers.max(1)).map(|_| Shard::new()).collect(),
            bucket_ms: (millis / SLOTS).max(1),
            latest_bad: AtomicU64::new(NEVER),
        }
    }

    /// Counts one; says whether anything bad is in the window, that is whether a sum could open.
    pub(crate) fn add(
        &self,
        worker: usize,
        generation: u16,
        now: Tick,
        exchange: Exchange,
    ) -> bool {
        let slot = self.slot(now);
        let position = usize::try_from(slot % SLOTS).unwrap_or(0);
        let shard = self.shards.get(worker % self.shards.len());
        if let Some(bucket) = shard.and_then(|shard| shard.0.get(position)) {
            bucket.count(stamp(generation, slot), exchange);
        }
        if exchange.failed || exchange.slow {
            self.latest_bad.store(slot, Ordering::Relaxed);
            return true;
        }
        let latest = self.latest_bad.load(Ordering::Relaxed);
        latest != NEVER && slot.saturating_sub(latest) < SLOTS
    }

    /// All workers' buckets of this generation that lie in the window.
    pub(crate) fn sum(&self, generation: u16, now: Tick) -> Counts {
        let newest = self.slot(now);
        let oldest = newest.saturating_sub(SLOTS - 1);
        let wanted = stamp(generation, oldest)..=stamp(generation, newest);
        let mut counts = Counts::default();
        for bucket in self.shards.iter().flat_map(|shard| &shard.0) {
            if wanted.contains(&bucket.stamp.load(Ordering::Acquire)) {
                counts.total += u64::from(bucket.total.load(Ordering::Relaxed));
                counts.failures += u64::from(bucket.failures.load(Ordering::Relaxed));
                counts.slow += u64::from(bucket.slow.load(Ordering::Relaxed));
            }
        }
        counts
    }

    fn slot(&self, now: Tick) -> u64 {
        now.as_millis() / self.bucket_ms
    }
}

impl Shard {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Bucket {
            stamp: AtomicU64::new(NEVER),
            total: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            slow: AtomicU32::new(0),
        }))
    }
}

impl Bucket {
    /// Only its worker comes here, so a reset cannot race with another count.
    fn count(&self, stamp: u64, exchange: Exchange) {
        if self.stamp.load(Ordering::Relaxed) != stamp {
            self.stamp.store(NEVER, Ordering::Release);
            for count in [&self.total, &self.failures, &self.slow] {
                count.store(0, Ordering::Relaxed);
            }
            self.stamp.store(stamp, Ordering::Release);
        }
        self.total.fetch_add(1, Ordering::Relaxed);
        if exchange.failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        if exchange.slow {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `generation 12 | slot 52`: one generation's slots are one range.
const fn stamp(generation: u16, slot: u64) -> u64 {
    (generation as u64) << 52 | slot & ((1 << 52) - 1)
}
