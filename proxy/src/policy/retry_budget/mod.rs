//! Retry budget: how many retries a service may afford, as a share of recent requests (GEP-3388).
//!
//! Why not a fixed count: three attempts at each of four hops is 81 requests. A budget bounds the sum.
//! Requests are counted per worker; retries, rare by definition, in one ledger for all, so that two
//! workers cannot spend the same retry twice.

mod ledger;

use std::time::Duration;

use usher_config::{model, value::Percent};

use crate::{atomic::ring::Ring, clock::Tick};

use ledger::Ledger;

/// One service's budget, shared by all workers.
#[derive(Debug)]
pub struct RetryBudget {
    requests: Box<[Shard]>,
    ledger: Ledger,
    percent: Percent,
    bucket_ms: u64,
    min_count: u32,
    min_interval_ms: u64,
}

/// A worker's requests, in cache lines of their own.
#[derive(Debug)]
#[repr(align(64))]
struct Shard(Ring);

impl RetryBudget {
    /// For so many workers.
    pub fn new(settings: &model::RetryBudget, workers: usize) -> Self {
        Self {
            requests: (0..workers.max(1)).map(|_| Shard(Ring::new())).collect(),
            ledger: Ledger::new(),
            percent: settings.percent,
            bucket_ms: (millis(settings.interval) / u64::from(crate::atomic::ring::BUCKETS)).max(1),
            min_count: settings.min_count,
            min_interval_ms: millis(settings.min_interval).max(1),
        }
    }

    /// A request (not an attempt) has come. One uncontended add.
    pub fn deposit(&self, worker: usize, now: Tick) {
        if let Some(shard) = self.requests.get(worker % self.requests.len()) {
            shard.0.add(slot(now, self.bucket_ms));
        }
    }

    /// Takes one retry, if there is one: within `percent` of the interval's requests, or else within the
    /// minimum rate. Two that race for the last one may both be refused; never are both granted.
    pub fn withdraw(&self, now: Tick) -> bool {
        let slot_now = slot(now, self.bucket_ms);
        let requests: u64 = self
            .requests
            .iter()
            .map(|shard| shard.0.sum(slot_now))
            .sum();
        let afforded = requests * u64::from(self.percent.get()) / 100;
        self.ledger.spend(slot_now, afforded)
            || self
                .ledger
                .spend_minimum(slot_now, slot(now, self.min_interval_ms), self.min_count)
    }

    /// Retries of the last interval, for metrics and tests.
    pub fn spent(&self, now: Tick) -> u64 {
        self.ledger.spent(slot(now, self.bucket_ms))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Slots are compared modulo 2³²: the cut is meant.
fn slot(now: Tick, slot_ms: u64) -> u32 {
    u32::try_from((now.as_millis() / slot_ms) & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests;
