//! What API servers ask the webhook, and what it writes into them.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec};

use super::Table;

/// Seconds. An API server's own answer takes a few milliseconds; 20 ms is what we are allowed.
const SECONDS: [f64; 10] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0,
];

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whether a pod gets a sidecar.
    Inject,
    /// Whether an object may be stored.
    Validate,
}

impl Admission {
    /// As labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inject => "inject",
            Self::Validate => "validate",
        }
    }
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionOutcome {
    /// It may be as it is.
    Allowed,
    /// It may be, with a sidecar.
    Patched,
    /// It may not be.
    Denied,
    /// It was no question.
    Malformed,
    /// It did not come to its end in time.
    Slow,
    /// Too many others were under way.
    Overloaded,
    /// By a mistake of ours.
    Failed,
}

impl AdmissionOutcome {
    /// As labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Patched => "patched",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
        }
    }
}

/// How writing a `caBundle` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleWrite {
    /// It is written.
    Written,
    /// Somebody else wrote meanwhile.
    Crossed,
    /// The API server was not reached, or did not let us.
    Failed,
}

/// What happens at the webhook.
#[derive(Debug)]
pub struct AdmissionMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    bundles: IntCounterVec,
}

impl AdmissionMetrics {
    pub(super) fn new(table: &Table<'_>) -> Result<Self, prometheus::Error> {
        let durations = HistogramOpts::new(
            "usher_admission_duration_seconds",
            "How long does an answer to an API server take, from the request's head on?",
        );
        let durations = HistogramVec::new(durations.buckets(SECONDS.to_vec()), &["webhook"])?;
        table.0.register(Box::new(durations.clone()))?;
        Ok(Self {
            requests: table.counters(
                "usher_admission_requests_total",
                "How do questions of API servers about admissions end?",
                &["webhook", "outcome"],
            )?,
            durations,
            bundles: table.counters(
                "usher_admission_bundle_writes_total",
                "How often were the roots of the mesh written into the webhooks' configurations?",
                &["result"],
            )?,
        })
    }

    /// Counts one question.
    pub fn count(&self, webhook: Admission, outcome: AdmissionOutcome, took: Duration) {
        let webhook = webhook.as_str();
        self.requests
            .with_label_values(&[webhook, outcome.as_str()])
            .inc();
        self.durations
            .with_label_values(&[webhook])
            .observe(took.as_secs_f64());
    }

    /// Counts one write.
    pub fn bundle(&self, write: BundleWrite) {
        let result = match write {
            BundleWrite::Written => "written",
            BundleWrite::Crossed => "crossed",
            BundleWrite::Failed => "failed",
        };
        self.bundles.with_label_values(&[result]).inc();
    }
}
