//! What simulated sidecars were told, and when.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Of all sidecars.
#[derive(Debug, Default)]
pub(super) struct Observed(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: Told,
    /// Name of a resource, and when each sidecar had a batch with it.
    awaited: Option<(String, Vec<Instant>)>,
    /// From a sidecar's start to its first full snapshot.
    first: Vec<Duration>,
    failures: BTreeMap<String, u64>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// Closed ones.
    pub(super) batches: u64,
    pub(super) resources: u64,
    /// Resources that the sidecar had not asked for.
    pub(super) uncalled_for: u64,
}

impl Observed {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sidecar has a whole batch.
    pub(super) fn batch<'a>(&self, names: impl Iterator<Item = &'a str>, now: Instant) {
        let mut inner = self.inner();
        inner.told.batches += 1;
        for name in names {
            inner.told.resources += 1;
            if let Some((awaited, seen)) = &mut inner.awaited
                && awaited == name
            {
                seen.push(now);
            }
        }
    }

    pub(super) fn uncalled_for(&self) {
        self.inner().told.uncalled_for += 1;
    }

    pub(super) fn synchronised(&self, after: Duration) {
        self.inner().first.push(after);
    }

    pub(super) fn failed(&self, why: String) {
        *self.inner().failures.entry(why).or_default() += 1;
    }

    pub(super) fn told(&self) -> Told {
        self.inner().told
    }

    /// From now on, when sidecars are told of this resource.
    pub(super) fn await_name(&self, name: &str) {
        self.inner().awaited = Some((name.to_owned(), Vec::new()));
    }

    /// How many were told of what is awaited.
    pub(super) fn have(&self) -> usize {
        let inner = self.inner();
        inner.awaited.as_ref().map_or(0, |(_, seen)| seen.len())
    }

    /// When they were told of it; nothing is awaited any more.
    pub(super) fn taken(&self) -> Vec<Instant> {
        self.inner()
            .awaited
            .take()
            .map_or_else(Vec::new, |(_, seen)| seen)
    }

    /// How many have had their first full snapshot since [`Observed::take_first`].
    pub(super) fn synchronised_count(&self) -> usize {
        self.inner().first.len()
    }

    pub(super) fn take_first(&self) -> Vec<Duration> {
        std::mem::take(&mut self.inner().first)
    }

    /// Why connections were lost or not made, and how often.
    pub(super) fn take_failures(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.inner().failures)
    }
}
