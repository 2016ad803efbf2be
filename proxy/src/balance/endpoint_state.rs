//! What is known about one endpoint, shared by all workers and kept from snapshot to snapshot.

use std::{sync::Arc, time::Duration};

use usher_config::model::{Ejection, SuccessRate};

use crate::{
    atomic::{
        AtomicU32, Ordering,
        ring::{BUCKETS, Ring},
    },
    clock::Tick,
};

use super::{
    attempt::Observation,
    ejection::{Change, Event, Moved, Room, Roster, Rules, Standing, Word},
    peak_ewma::{self, PeakEwma},
};

/// Load, speed and standing of one endpoint. All atomics; no lock.
#[derive(Debug)]
pub struct EndpointState {
    in_flight: AtomicU32,
    speed: PeakEwma,
    standing: Word,
    successes: Ring,
    failures: Ring,
    roster: Arc<Roster>,
}

/// An endpoint's state as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    /// Attempts under way.
    pub in_flight: u32,
    /// What the next answer is expected to take.
    pub expected: Duration,
    /// Out of balancing.
    pub ejected: bool,
    /// How often in a row it was ejected.
    pub ejections: u8,
    /// Until it may be probed; zero when in or due.
    pub ejected_for: Duration,
}

impl EndpointState {
    /// A new endpoint of the roster's service. Also call `Roster::resize`.
    pub fn new(roster: Arc<Roster>, now: Tick) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            speed: PeakEwma::new(now),
            standing: Word::new(),
            successes: Ring::new(),
            failures: Ring::new(),
            roster,
        }
    }

    /// Attempts under way, by all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// For the admin socket.
    pub fn view(&self, now: Tick) -> EndpointView {
        let state = self.standing.load();
        let out = state.standing != Standing::In;
        EndpointView {
            in_flight: self.in_flight(),
            expected: Duration::from_secs_f32(self.speed.cost(now) / 1e6),
            ejected: out,
            ejections: if out { state.times } else { 0 },
            ejected_for: if out {
                Tick::from_millis(state.at_ms).since(now)
            } else {
                Duration::ZERO
            },
        }
    }

    /// Expected microseconds of the next answer.
    pub(super) fn cost(&self, now: Tick) -> f32 {
        self.speed.cost(now)
    }

    pub(super) fn is_in(&self) -> bool {
        self.standing.load().standing == Standing::In
    }

    /// Whether this caller is the one that may probe an ejected endpoint.
    pub(super) fn claim_probe(&self, now: Tick) -> bool {
        let moved = self.standing.apply(Event::Ask, now, &self.roster);
        moved.before != moved.after
    }

    /// Counts an attempt in unless `most` are under way.
    pub(super) fn enter(&self, most: Option<u32>) -> bool {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let within = most.is_none_or(|most| before < most);
        if !within {
            self.leave();
        }
        within
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn cancel_probe(&self) {
        // Time does not matter for a cancelled probe.
        self.standing
            .apply(Event::ProbeCancelled, Tick::ZERO, &self.roster);
    }

    /// Learns from an attempt that ended. `settings`: of the policy in force; `None`: never eject.
    pub(super) fn learn(
        &self,
        seen: &Observation,
        probe: bool,
        settings: Option<&Ejection>,
    ) -> Option<Change> {
        if let Some(sample) = seen.sample() {
            self.speed
                .observe(sample.unwrap_or_else(peak_ewma::penalty), seen.now);
        }
        let failed = seen.failed()?;
        let moved = match (settings, failed) {
            (None, _) if !probe => return None,
            (_, false) => {
                self.count(&self.successes, seen.now, settings);
                let event = if probe {
                    Event::ProbeSucceeded
                } else {
                    Event::Succeeded
                };
                self.standing.apply(event, seen.now, &self.roster)
            }
            (None, true) => {
                self.cancel_probe();
                return None;
            }
            (Some(settings), true) => self.learn_failure(seen, probe, settings),
        };
        if moved.returned() {
            Some(Change::Returned)
        } else {
            let lasts = Tick::from_millis(moved.after.at_ms).since(seen.now);
            moved.went_out().then_some(Change::Ejected { lasts })
        }
    }

    fn learn_failure(&self, seen: &Observation, probe: bool, settings: &Ejection) -> Moved {
        self.count(&self.failures, seen.now, Some(settings));
        let rules = Rules {
            consecutive_failures: settings.consecutive_failures,
            base: settings.base,
            max: settings.max,
        };
        let room = Room {
            percent: settings.max_percent.get(),
            min_ready: settings.min_ready,
        };
        let apply = |event| {
            let moment = (seen.now, seen.random);
            self.standing
                .apply_bad(event, moment, &rules, (&self.roster, room))
        };
        let moved = apply(if probe {
            Event::ProbeFailed
        } else {
            Event::Failed
        });
        let low = settings
            .success_rate
            .as_ref()
            .is_some_and(|rate| self.rate_too_low(rate, seen.now));
        if low && moved.after.standing == Standing::In {
            apply(Event::RateTooLow)
        } else {
            moved
        }
    }

    fn count(&self, ring: &Ring, now: Tick, settings: Option<&Ejection>) {
        if let Some(rate) = settings.and_then(|settings| settings.success_rate.as_ref()) {
            ring.add(slot(rate.window, now));
        }
    }

    fn rate_too_low(&self, rate: &SuccessRate, now: Tick) -> bool {
        let slot = slot(rate.window, now);
        let (good, bad) = (self.successes.sum(slot), self.failures.sum(slot));
        good + bad >= u64::from(rate.min_attempts)
            && good * 100 < (good + bad) * u64::from(rate.threshold.get())
    }
}

impl Drop for EndpointState {
    /// An endpoint that leaves while ejected frees its place for another.
    fn drop(&mut self) {
        if !self.is_in() {
            self.roster.release();
        }
    }
}

fn slot(window: Duration, now: Tick) -> u32 {
    let bucket = u64::try_from(window.as_millis()).unwrap_or(u64::MAX) / u64::from(BUCKETS);
    u32::try_from((now.as_millis() / bucket.max(1)) & 0xffff_ffff).unwrap_or(0)
}
