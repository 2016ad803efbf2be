//! What is known about one endpoint, shared by all workers and kept from snapshot to snapshot.

use std::{sync::Arc, time::Duration};

use usher_config::model::{Ejection, SuccessRate};

use crate::{
    atomic::{
        AtomicU32, AtomicU64, Ordering,
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
    /// In milliseconds, when it began to be of use; 0: it was there before us. Written by who applies snapshots.
    began_ms: AtomicU64,
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
            began_ms: AtomicU64::new(0),
            speed: PeakEwma::new(now),
            standing: Word::new(),
            successes: Ring::new(),
            failures: Ring::new(),
            roster,
        }
    }

    /// It joined others, or its application is well again: slow start begins.
    pub fn begin(&self, now: Tick) {
        self.began_ms.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Its own sidecar or its weight keeps it out: it leaves its place among the ejected to one that needs it.
    pub fn retire(&self, now: Tick) {
        self.standing.apply(Event::Retired, now, &self.roster);
    }

    /// How long it has been of use since it began or came back from ejection; `None`: as long as we know.
    pub(super) fn in_use_for(&self, now: Tick) -> Option<Duration> {
        let state = self.standing.load();
        let returned_ms = if state.standing == Standing::In {
            state.at_ms
        } else {
            0
        };
        let since_ms = self.began_ms.load(Ordering::Relaxed).max(returned_ms);
        (since_ms > 0).then(|| now.since(Tick::from_millis(since_ms)))
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
            (None, true) => {
                self.cancel_probe();
                return None;
            }
            (None, false) => self.succeeded(seen.now, probe),
            (Some(settings), _) => self.judge(seen, probe, failed, settings),
        };
        if moved.returned() {
            Some(Change::Returned)
        } else {
            let lasts = Tick::from_millis(moved.after.at_ms).since(seen.now);
            moved.went_out().then_some(Change::Ejected { lasts })
        }
    }

    fn succeeded(&self, now: Tick, probe: bool) -> Moved {
        let event = if probe {
            Event::ProbeSucceeded
        } else {
            Event::Succeeded
        };
        self.standing.apply(event, now, &self.roster)
    }

    fn judge(&self, seen: &Observation, probe: bool, failed: bool, settings: &Ejection) -> Moved {
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
        let moved = match (failed, probe) {
            (true, true) => apply(Event::ProbeFailed),
            (true, false) => apply(Event::Failed),
            (false, _) => self.succeeded(seen.now, probe),
        };
        let Some(rate) = &settings.success_rate else {
            return moved;
        };
        let ring = if failed {
            &self.failures
        } else {
            &self.successes
        };
        ring.add(slot(rate.window, seen.now));
        // A success may be the attempt that completes the minimum.
        let stays = moved.after.standing == Standing::In && !moved.returned();
        if stays && self.rate_too_low(rate, moved.after.at_ms, seen.now) {
            apply(Event::RateTooLow)
        } else {
            moved
        }
    }

    /// Of the attempts since the endpoint came (back) in: it does not pay twice for what it was out for.
    fn rate_too_low(&self, rate: &SuccessRate, since_ms: u64, now: Tick) -> bool {
        let slot_now = slot(rate.window, now);
        let since = slot(rate.window, Tick::from_millis(since_ms));
        let slots = slot_now.wrapping_sub(since).saturating_add(1);
        let good = self.successes.sum_of(slot_now, slots);
        let bad = self.failures.sum_of(slot_now, slots);
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
