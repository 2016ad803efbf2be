//! What came of the payments: counted as answers arrive, published once a second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::warn;

/// Latencies kept for the percentiles: the newest, so that memory is bounded.
const LATENCIES_MAX: usize = 100_000;

/// An answer, or why there was none (status 0).
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) engine: String,
    pub(crate) text: String,
}

/// What an answer means for the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Paid,
    Pending,
    /// The bank decided against it, and says so.
    Declined,
    /// Nobody decided: no answer, or one that tells of no decision.
    Failed,
}

impl Outcome {
    /// Of an answer's status and the payment's status in its body.
    pub(crate) fn of(status: u16, payment: &str) -> Self {
        match (status, payment) {
            (201, _) => Self::Paid,
            (202, _) => Self::Pending,
            (422, "declined" | "refunded") => Self::Declined,
            _ => Self::Failed,
        }
    }
}

/// Whether more payments are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Done,
}

/// The published object; see the crate's documentation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    pub(crate) done: bool,
    pub(crate) elapsed_ms: u64,
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) pending: u64,
    pub(crate) declined: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) in_flight: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    pub(crate) engines: BTreeMap<String, u64>,
    pub(crate) statuses: BTreeMap<String, u64>,
}

/// The counters; shared by all payments.
#[derive(Debug)]
pub(crate) struct Stats {
    begun: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    skipped: u64,
    declined: u64,
    last_error: Option<String>,
    engines: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
    latencies_us: Vec<u64>,
    next_latency: usize,
    max_us: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Stats {
    pub(crate) fn sent(&self) {
        self.lock().sent += 1;
    }

    pub(crate) fn skipped(&self) {
        self.lock().skipped += 1;
    }

    pub(crate) fn answered(&self, reply: &Reply, took: Duration) {
        let mut counts = self.lock();
        *counts.statuses.entry(reply.status).or_default() += 1;
        match reply.outcome {
            Outcome::Paid => *counts.engines.entry(reply.engine.clone()).or_default() += 1,
            Outcome::Pending => {}
            Outcome::Declined => counts.declined += 1,
            Outcome::Failed => counts.last_error = Some(format!("{} {}", reply.status, reply.text)),
        }
        counts.took(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn snapshot(&self, phase: Phase) -> Snapshot {
        let counts = self.lock();
        let with = |status: u16| counts.statuses.get(&status).copied().unwrap_or(0);
        let answered: u64 = counts.statuses.values().sum();
        let (ok, pending, declined) = (with(201), with(202), counts.declined);
        let mut sorted = counts.latencies_us.clone();
        sorted.sort_unstable();
        Snapshot {
            done: phase == Phase::Done,
            elapsed_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            sent: counts.sent,
            ok,
            pending,
            declined,
            failed: answered - ok - pending - declined,
            skipped: counts.skipped,
            in_flight: counts.sent - answered,
            last_error: counts.last_error.clone(),
            p50_us: percentile(&sorted, 50),
            p99_us: percentile(&sorted, 99),
            max_us: counts.max_us,
            engines: counts.engines.clone(),
            statuses: counts
                .statuses
                .iter()
                .map(|(code, n)| (code.to_string(), *n))
                .collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn took(&mut self, micros: u64) {
        self.max_us = self.max_us.max(micros);
        let next = self.next_latency;
        match self.latencies_us.get_mut(next) {
            Some(oldest) => *oldest = micros,
            None => self.latencies_us.push(micros),
        }
        self.next_latency = (next + 1) % LATENCIES_MAX;
    }
}

/// The smallest value that `percent` of all do not exceed; 0 of none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Writes a snapshot each second, for as long as it is polled.
pub(crate) async fn publish(stats: Arc<Stats>, file: Option<PathBuf>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        write(&stats.snapshot(Phase::Running), file.as_deref());
    }
}

/// Replaces the file in one step, so that a reader never sees half of it; without a file, prints a line.
pub(crate) fn write(snapshot: &Snapshot, file: Option<&Path>) {
    let Ok(line) = serde_json::to_string(snapshot) else {
        return;
    };
    let Some(file) = file else {
        println!("{line}");
        return;
    };
    let fresh = file.with_added_extension("new");
    let written = std::fs::write(&fresh, line).and_then(|()| std::fs::rename(&fresh, file));
    if let Err(error) = written {
        warn!(file = %file.display(), %error, "the statistics can't be written");
    }
}
