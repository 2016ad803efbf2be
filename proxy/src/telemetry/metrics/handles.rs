//! What stages do with their handles: add, and nothing else.

use std::time::Duration;

use crate::error::Flag;

use super::{Counter, Gauge, Histogram, Outcomes, Requests};

impl Counter {
    /// Adds. Less than 2 ns: a worker's own cache line.
    pub fn add(&self, worker: usize, amount: u64) {
        self.0.add(worker, amount);
    }
}

impl Outcomes {
    /// Adds one. Outcomes are few and constant; the thirteenth and later become `overflow`.
    pub fn add(&self, worker: usize, outcome: &'static str) {
        self.0.add(worker, outcome, 1);
    }

    /// Adds several, such as bytes.
    pub fn add_many(&self, worker: usize, outcome: &'static str, amount: u64) {
        self.0.add(worker, outcome, amount);
    }
}

impl Requests {
    /// A request ended with this status (gRPC's codes are in the access log) and this first flag.
    pub fn add(&self, worker: usize, status: http::StatusCode, flag: Option<Flag>) {
        self.0.add(worker, status.as_u16(), flag);
    }
}

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    /// Moves it.
    pub fn add(&self, difference: i64) {
        self.0.add(difference);
    }
}

impl Histogram {
    /// Counts a duration in.
    pub fn observe(&self, worker: usize, duration: Duration) {
        self.0.observe(worker, duration);
    }
}
