//! What is known beside who calls: since when, whom nobody wants to be told of, and whether the clock can be believed.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::warn;
use usher_config::value::ServiceName;

use super::{KNOWN_AFTER, lock};
use crate::registry::{callers::FORGOTTEN_AFTER, store::Wait};

/// A step of the clock that is no drift.
const CLOCK_JUMP: Duration = Duration::from_secs(60);

/// After so long every sidecar has told again of all who call (its `AGAIN_AFTER`, and a renewal).
const TOLD_AGAIN: Duration = Duration::from_secs(360);

/// What is known beside who calls.
#[derive(Debug)]
pub(in crate::state) struct Guard {
    /// Until then it may not have heard of all who call: a day after the start, or after the clock was set.
    pub(in crate::state) doubts_until: Mutex<Instant>,
    /// Until then sidecars have not been heard.
    pub(super) unknown_until: Mutex<Option<(Instant, SystemTime)>>,
    /// Whose callers hold nothing up, and until when.
    pub(super) dismissed: Mutex<Dismissed>,
    /// Services that a rollback made take plaintext again, and until when nobody may have noticed.
    pub(super) reopened: Mutex<BTreeMap<ServiceName, Instant>>,
    /// Two clocks at one moment.
    clocks: Mutex<(std::time::Instant, SystemTime)>,
}

#[derive(Debug, Default)]
pub(super) struct Dismissed {
    pub(super) all: Option<Instant>,
    pub(super) services: BTreeMap<ServiceName, Instant>,
}

impl Guard {
    /// Of a control plane that starts now; `knows`: nothing ran yet.
    pub(in crate::state) fn new(knows: bool) -> Self {
        let guard = Self {
            doubts_until: Mutex::new(Instant::now() + FORGOTTEN_AFTER),
            unknown_until: Mutex::default(),
            dismissed: Mutex::default(),
            reopened: Mutex::default(),
            clocks: Mutex::new((std::time::Instant::now(), SystemTime::now())),
        };
        if !knows {
            guard.know_nobody_for(KNOWN_AFTER);
        }
        guard
    }

    pub(super) fn know_nobody_for(&self, time: Duration) {
        let until = (Instant::now() + time, SystemTime::now() + time);
        *lock(&self.unknown_until) = Some(until);
    }

    pub(super) fn is_dismissed(&self, service: &ServiceName, now: Instant) -> bool {
        let dismissed = lock(&self.dismissed);
        let until = [dismissed.all, dismissed.services.get(service).copied()];
        until.into_iter().flatten().any(|until| now < until)
    }

    /// Whether that a service is called was known, and that it is not any more cannot be.
    pub(super) fn may_be_called(
        &self,
        (service, wait): (&ServiceName, Wait),
        now: Instant,
    ) -> bool {
        let doubts = now < *lock(&self.doubts_until);
        let is_reopened = lock(&self.reopened)
            .get(service)
            .is_some_and(|until| now < *until);
        wait == Wait::Called && doubts || is_reopened
    }

    /// A rollback makes a service take plaintext again: who was dismissed before it is not any more.
    pub(super) fn reopen(&self, service: ServiceName, until: Instant) {
        let mut dismissed = lock(&self.dismissed);
        dismissed.all = None;
        dismissed.services.remove(&service);
        drop(dismissed);
        lock(&self.reopened).insert(service, until);
    }

    /// Callers are forgotten by the clock on the wall. When somebody has moved its hands, sidecars have to tell of them again.
    pub(super) fn look_at_clocks(&self) {
        let mut clocks = lock(&self.clocks);
        let (then, wall) = *clocks;
        *clocks = (std::time::Instant::now(), SystemTime::now());
        let (now, expected) = (clocks.1, wall + then.elapsed());
        let moved = now
            .duration_since(expected)
            .unwrap_or_else(|error| error.duration());
        if moved > CLOCK_JUMP {
            warn!(
                ?moved,
                "the clock was set: who calls in plaintext is asked anew"
            );
            self.know_nobody_for(TOLD_AGAIN);
            *lock(&self.doubts_until) = Instant::now() + FORGOTTEN_AFTER;
        }
    }
}
