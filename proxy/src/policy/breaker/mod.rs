//! Circuit breaker: gives a dependency a rest when too many exchanges with it fail or crawl.
//!
//! Counts exchanges *after* retries, so one breaker opinion stands for what callers experience. State is
//! one word moved by the pure rule in `state`; counts are per worker in `window`. A closed breaker costs a
//! load to pass and a few adds to record. Semantics follow resilience4j, plus generations: answers of an
//! older one change nothing.

mod outcome;
mod state;
mod window;
mod word;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use usher_config::model::{self, BreakerMode, Forced};

use crate::clock::Tick;

use state::{Event, Moment, Rules, State};
use window::{Exchange, Window};
use word::{Step, Word};

pub use outcome::Outcome;
pub use state::Phase;
pub use window::Counts;

/// One dependency's breaker, shared by all workers.
pub struct Breaker {
    settings: model::Breaker,
    rules: Rules,
    word: Word,
    window: Window,
    /// Another one took its place: who still holds this one moves nothing that anybody sees.
    retired: AtomicBool,
}

/// What a request that wants to pass is told.
#[derive(Debug)]
pub struct Answer {
    /// Whether it passes.
    pub admission: Admission,
    /// What the question itself changed (open → half-open by the first who asks after the rest).
    pub transition: Option<Transition>,
}

/// Whether a request passes.
#[derive(Debug)]
pub enum Admission {
    /// It does; its result is owed.
    Admitted(Permit),
    /// It does not.
    Refused {
        /// When asking again may help, for `Retry-After`.
        retry_after: Duration,
    },
}

/// A change of phase: a metric, a log line and an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Where it stood.
    pub from: Phase,
    /// Where it stands.
    pub to: Phase,
    /// The generation that begins.
    pub generation: u16,
    /// How long the new phase lasts at least (open) or at most (half-open); zero when closed.
    pub lasts: Duration,
}

/// The right to one exchange. Record its outcome; dropped without, it counts for nothing and a trial's
/// permit goes back to the breaker (the caller went away).
#[must_use = "record the outcome; dropping means the caller cancelled"]
pub struct Permit {
    breaker: Arc<Breaker>,
    worker: usize,
    generation: u16,
    kind: Kind,
    would_refuse: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counted,
    Trial,
    /// Forced, observed past an open breaker, or already recorded.
    Untracked,
}

/// A breaker as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where it stands; an open one stays so until somebody asks after its rest.
    pub phase: Phase,
    /// Counts changes of phase, modulo 4096.
    pub generation: u16,
    /// Open: rest that remains; half-open: time left for a verdict; else zero.
    pub remaining: Duration,
    /// Trials that may still begin.
    pub permits: u8,
    /// Trials that went well.
    pub successes: u8,
    /// This generation's window.
    pub counts: Counts,
    /// From the settings.
    pub mode: BreakerMode,
    /// From the settings.
    pub forced: Forced,
}

impl Breaker {
    /// A closed one, for so many workers.
    pub fn new(settings: model::Breaker, workers: usize) -> Self {
        Self::with_state(settings, workers, State::NEW)
    }

    /// The same dependency under new settings: phase and generation stay, counts start again. Permits of
    /// the old one no longer count; a half-open one is settled by new trials or by its wait.
    pub fn renewed(&self, settings: model::Breaker, workers: usize) -> Self {
        self.retired.store(true, Ordering::Release);
        Self::with_state(settings, workers, self.word.load())
    }

    fn with_state(settings: model::Breaker, workers: usize, state: State) -> Self {
        let rules = Rules {
            open_for: settings.open_for,
            open_for_max: settings.open_for_max.max(settings.open_for),
            permits: settings.half_open_permits.clamp(1, 15),
            max_wait: settings.half_open_max_wait,
        };
        let window = Window::new(settings.window, workers);
        Self {
            rules,
            word: Word::new(state),
            window,
            settings,
            retired: AtomicBool::new(false),
        }
    }

    /// What it was made with, to find out whether new settings differ.
    pub fn settings(&self) -> &model::Breaker {
        &self.settings
    }

    /// May a request pass? A load while closed; `random` only matters when a phase ends.
    pub fn admit(self: &Arc<Self>, worker: usize, now: Tick, random: u64) -> Answer {
        match self.settings.forced {
            Forced::Closed => return self.pass(Kind::Untracked, worker, State::NEW, None),
            Forced::Open => {
                let retry_after = self.settings.open_for;
                return Answer {
                    admission: Admission::Refused { retry_after },
                    transition: None,
                };
            }
            Forced::No => {}
        }
        let state = self.word.load();
        if state.phase == Phase::Closed {
            return self.pass(Kind::Counted, worker, state, None);
        }
        let step = self
            .word
            .apply(Event::Ask, Moment { now, random }, &self.rules);
        let transition = self.transition(step, now);
        match step.after.phase {
            Phase::Closed => self.pass(Kind::Counted, worker, step.after, transition),
            Phase::HalfOpen if step.after != step.before => {
                self.pass(Kind::Trial, worker, step.after, transition)
            }
            Phase::Open | Phase::HalfOpen if self.settings.mode == BreakerMode::Observe => {
                let mut answer = self.pass(Kind::Untracked, worker, step.after, transition);
                if let Admission::Admitted(permit) = &mut answer.admission {
                    permit.would_refuse = true;
                }
                answer
            }
            Phase::Open | Phase::HalfOpen => {
                let retry_after = remaining(step.after, now);
                Answer {
                    admission: Admission::Refused { retry_after },
                    transition,
                }
            }
        }
    }

    fn pass(
        self: &Arc<Self>,
        kind: Kind,
        worker: usize,
        state: State,
        transition: Option<Transition>,
    ) -> Answer {
        let breaker = Arc::clone(self);
        let generation = state.generation;
        let permit = Permit {
            breaker,
            worker,
            generation,
            kind,
            would_refuse: false,
        };
        Answer {
            admission: Admission::Admitted(permit),
            transition,
        }
    }

    /// For the admin socket and the state metric.
    pub fn view(&self, now: Tick) -> View {
        let state = self.word.load();
        View {
            phase: match self.settings.forced {
                Forced::No => state.phase,
                Forced::Open => Phase::Open,
                Forced::Closed => Phase::Closed,
            },
            generation: state.generation,
            remaining: remaining(state, now),
            permits: state.permits,
            successes: state.successes,
            counts: self.window.sum(state.generation, now),
            mode: self.settings.mode,
            forced: self.settings.forced,
        }
    }

    fn transition(&self, step: Step, now: Tick) -> Option<Transition> {
        let retired = self.retired.load(Ordering::Acquire);
        Transition::of(step, now).filter(|_| !retired)
    }

    fn should_trip(&self, counts: Counts) -> bool {
        let enough = counts.total >= u64::from(self.settings.min_requests.max(1));
        let reaches = |part: u64, percent: usher_config::value::Percent| {
            part > 0 && part * 100 >= counts.total * u64::from(percent.get())
        };
        enough
            && (reaches(counts.failures, self.settings.failure_percent)
                || reaches(counts.slow, self.settings.slow_percent))
    }
}

impl Permit {
    /// Whether it is a half-open trial: never retried, never hedged. One that only observes changes nothing
    /// about how requests are treated.
    pub fn is_trial(&self) -> bool {
        self.kind == Kind::Trial && self.breaker.settings.mode == BreakerMode::Enforce
    }

    /// Observe mode: an enforcing breaker would have refused this request.
    pub fn would_refuse(&self) -> bool {
        self.would_refuse
    }

    /// How it ended. A slow trial is a failed one: it has not shown that the dependency is well.
    pub fn record(
        mut self,
        outcome: Outcome,
        elapsed: Duration,
        now: Tick,
        random: u64,
    ) -> Option<Transition> {
        let kind = std::mem::replace(&mut self.kind, Kind::Untracked);
        let slow = elapsed > self.breaker.settings.slow_call;
        let event = match (kind, outcome) {
            (Kind::Untracked, _) | (Kind::Counted, Outcome::Ignored) => return None,
            (Kind::Counted, Outcome::Success | Outcome::Failure) => {
                let exchange = Exchange {
                    failed: outcome == Outcome::Failure,
                    slow,
                };
                self.count(exchange, now)?
            }
            (Kind::Trial, Outcome::Ignored) => Event::TrialCancelled(self.generation),
            (Kind::Trial, Outcome::Success) if !slow => Event::TrialSucceeded(self.generation),
            (Kind::Trial, Outcome::Success | Outcome::Failure) => {
                Event::TrialFailed(self.generation)
            }
        };
        let breaker = &self.breaker;
        let step = breaker
            .word
            .apply(event, Moment { now, random }, &breaker.rules);
        breaker.transition(step, now)
    }

    fn count(&self, exchange: Exchange, now: Tick) -> Option<Event> {
        let breaker = &self.breaker;
        let state = breaker.word.load();
        if state.phase != Phase::Closed || state.generation != self.generation {
            return None;
        }
        let worth_a_sum = breaker
            .window
            .add(self.worker, self.generation, now, exchange);
        let trips = worth_a_sum && breaker.should_trip(breaker.window.sum(self.generation, now));
        trips.then_some(Event::Trip(self.generation))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.kind == Kind::Trial {
            // Time zero: giving a permit back must not end the half-open phase.
            let at = Moment {
                now: Tick::ZERO,
                random: 0,
            };
            let event = Event::TrialCancelled(self.generation);
            self.breaker.word.apply(event, at, &self.breaker.rules);
        }
    }
}

impl Transition {
    fn of(step: Step, now: Tick) -> Option<Self> {
        (step.before.phase != step.after.phase).then(|| Self {
            from: step.before.phase,
            to: step.after.phase,
            generation: step.after.generation,
            lasts: remaining(step.after, now),
        })
    }
}

fn remaining(state: State, now: Tick) -> Duration {
    match state.phase {
        Phase::Closed => Duration::ZERO,
        Phase::Open | Phase::HalfOpen => Tick::from_millis(state.until_ms).since(now),
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("state", &self.word.load())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
