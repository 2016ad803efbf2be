//! When which set is fetched. Pure: time and chance are arguments.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use usher_config::value::JwksUri;

/// After one failure; doubled on each further one.
const RETRY_BASE: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// All sets that some policy names.
#[derive(Debug, Default)]
pub struct Schedule(BTreeMap<JwksUri, Source>);

#[derive(Debug)]
struct Source {
    refresh: Duration,
    /// `None`: under way.
    due: Option<Instant>,
    failures: u32,
}

impl Schedule {
    /// The sets that are wanted, and how often. New ones are due at once.
    pub fn follow(&mut self, wanted: &BTreeMap<JwksUri, Duration>, now: Instant) {
        self.0.retain(|uri, _| wanted.contains_key(uri));
        for (uri, refresh) in wanted {
            let source = self.0.entry(uri.clone()).or_insert(Source {
                refresh: *refresh,
                due: Some(now),
                failures: 0,
            });
            if source.refresh != *refresh {
                source.refresh = *refresh;
                source.due = source.due.map(|due| due.min(now + *refresh));
            }
        }
    }

    /// Those to be fetched now. Each is under way until [`Schedule::fetched`] or [`Schedule::failed`].
    pub fn take_due(&mut self, now: Instant) -> Vec<JwksUri> {
        let mut taken = Vec::new();
        for (uri, source) in &mut self.0 {
            if source.due.is_some_and(|due| due <= now) {
                source.due = None;
                taken.push(uri.clone());
            }
        }
        taken
    }

    /// It is there.
    pub fn fetched(&mut self, uri: &JwksUri, now: Instant) {
        if let Some(source) = self.0.get_mut(uri) {
            source.failures = 0;
            source.due = Some(now + source.refresh);
        }
    }

    /// It is not; `chance` from 0 to 1. Says whether this is the first failure after a success.
    pub fn failed(&mut self, uri: &JwksUri, now: Instant, chance: f64) -> bool {
        let Some(source) = self.0.get_mut(uri) else {
            return false;
        };
        let doubled = RETRY_BASE.saturating_mul(1 << source.failures.min(6));
        let pause = doubled.min(RETRY_MAX).min(source.refresh);
        source.failures = source.failures.saturating_add(1);
        source.due = Some(now + pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0));
        source.failures == 1
    }

    /// When to look again.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|source| source.due).min()
    }
}

#[cfg(test)]
mod tests;
