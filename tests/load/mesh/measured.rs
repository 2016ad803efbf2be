//! What is measured on a running mesh, before it is told.

use std::time::Duration;

use super::log::Accepted;

/// Many sidecars at once.
pub(super) struct Storm {
    pub(super) all: Duration,
    pub(super) each: Vec<Duration>,
    pub(super) cores_peak: f64,
    pub(super) cpu: Duration,
    pub(super) rss_peak_kib: u64,
    /// Connections that failed and were made again, by cause.
    pub(super) failures: Vec<(String, u64)>,
}

/// Changes, each followed to everybody whom it concerns.
#[derive(Default)]
pub(super) struct Reached {
    /// From the change to each subscriber.
    pub(super) each: Vec<Duration>,
    /// From the change to the last of its subscribers.
    pub(super) last: Vec<Duration>,
    pub(super) accepted: Vec<Accepted>,
}

/// A rolling deploy.
pub(super) struct Deploy {
    pub(super) took: Duration,
    pub(super) cores: f64,
    pub(super) cores_before: f64,
    pub(super) batches: u64,
    pub(super) unconfirmed: u64,
    /// From a departure to the last caller that has dropped it.
    pub(super) left: Vec<Duration>,
}
