//! The breaker's rule: `(state, event, time) → state`, nothing else.
//!
//! Closed → Open when the window says so; Open → HalfOpen when somebody asks after the rest; HalfOpen →
//! Closed after as many successes as there are permits, → Open on one failure or when trials hang until the wait is
//! over. Every change of phase starts a new generation; answers of an older one change nothing, so a slow
//! call from before the outage can neither open nor close the breaker. In half-open
//! `permits left + trials under way + successes` is constant: exactly so many trials are let through.

use std::time::Duration;

use crate::{clock::Tick, random};

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Everything passes and is counted.
    Closed,
    /// Nothing passes.
    Open,
    /// A few trials pass.
    HalfOpen,
}

impl Phase {
    /// `usher_breaker_state`.
    pub const fn number(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

    /// For metrics, logs and the admin socket.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// All that a breaker remembers besides its window. Packs into 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Modulo 4096. A call would have to outlive 4096 changes to be mistaken; with a rest of 1 s that is an hour.
    pub(crate) generation: u16,
    /// Milliseconds. Open: not before; half-open: verdict due. 37 bits, four years of uptime.
    pub(crate) until_ms: u64,
    /// Trials still to be let through.
    pub(crate) permits: u8,
    /// Trials that went well.
    pub(crate) successes: u8,
    /// Rests in a row without closing in between: the exponent of the next one.
    pub(crate) trips: u8,
}

/// What happens to a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request wants to pass.
    Ask,
    /// The window of this generation shows too many failures.
    Trip(u16),
    /// A trial of this generation went well.
    TrialSucceeded(u16),
    /// A trial of this generation failed.
    TrialFailed(u16),
    /// A trial of this generation ended without a verdict: its permit goes back.
    TrialCancelled(u16),
}

/// The settings that the rule needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) open_for: Duration,
    pub(crate) open_for_max: Duration,
    /// 1–15.
    pub(crate) permits: u8,
    pub(crate) max_wait: Duration,
}

/// When, and with which luck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) now: Tick,
    pub(crate) random: u64,
}

pub(crate) const GENERATION_MASK: u16 = 0xfff;
pub(crate) const TRIPS_MAX: u8 = 31;
const UNTIL_MAX: u64 = (1 << 37) - 1;

impl State {
    pub(crate) const NEW: Self = Self {
        phase: Phase::Closed,
        generation: 0,
        until_ms: 0,
        permits: 0,
        successes: 0,
        trips: 0,
    };

    /// The whole rule.
    pub(crate) fn step(self, event: Event, at: Moment, rules: &Rules) -> Self {
        let state = self.lapsed(at, rules);
        match (state.phase, event) {
            (Phase::Open, Event::Ask) if at.now.as_millis() >= state.until_ms => {
                state.half_open(at.now, rules)
            }
            (Phase::HalfOpen, Event::Ask) if state.permits > 0 => Self {
                permits: state.permits - 1,
                ..state
            },
            (Phase::Closed, Event::Trip(of)) if of == state.generation => {
                state.opened(0, at, rules)
            }
            (Phase::HalfOpen, Event::TrialSucceeded(of)) if of == state.generation => {
                state.succeeded(rules)
            }
            (Phase::HalfOpen, Event::TrialFailed(of)) if of == state.generation => {
                state.opened(state.trips + 1, at, rules)
            }
            (Phase::HalfOpen, Event::TrialCancelled(of)) if of == state.generation => {
                let most = rules.permits.saturating_sub(state.successes);
                Self {
                    permits: (state.permits + 1).min(most),
                    ..state
                }
            }
            _ => state,
        }
    }

    /// Half-open without a verdict in time: the trials hang, which is an answer too. Where none is under way nobody was
    /// asked: the wait begins anew with the next that is.
    fn lapsed(self, at: Moment, rules: &Rules) -> Self {
        let late = self.phase == Phase::HalfOpen && at.now.as_millis() >= self.until_ms;
        if !late {
            self
        } else if self.permits == 0 || self.permits + self.successes < rules.permits {
            self.opened(self.trips + 1, at, rules)
        } else {
            let until = at.now + rules.max_wait;
            Self {
                until_ms: until.as_millis_ceil().min(UNTIL_MAX),
                ..self
            }
        }
    }

    fn opened(self, trips: u8, at: Moment, rules: &Rules) -> Self {
        let trips = trips.min(TRIPS_MAX);
        let rest = rules
            .open_for
            .saturating_mul(1 << trips.min(30))
            .min(rules.open_for_max);
        let until = at.now + random::around(rest, at.random);
        Self {
            trips,
            ..self.next(Phase::Open, until)
        }
    }

    /// The asker is the first trial.
    fn half_open(self, now: Tick, rules: &Rules) -> Self {
        let next = self.next(Phase::HalfOpen, now + rules.max_wait);
        Self {
            permits: rules.permits.saturating_sub(1),
            trips: self.trips,
            ..next
        }
    }

    fn succeeded(self, rules: &Rules) -> Self {
        let successes = self.successes + 1;
        if successes >= rules.permits {
            self.next(Phase::Closed, Tick::ZERO)
        } else {
            Self { successes, ..self }
        }
    }

    fn next(self, phase: Phase, until: Tick) -> Self {
        let generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        let until_ms = until.as_millis_ceil().min(UNTIL_MAX);
        Self {
            phase,
            generation,
            until_ms,
            permits: 0,
            successes: 0,
            trips: 0,
        }
    }

    /// `until 37 | generation 12 | trips 5 | successes 4 | permits 4 | phase 2`.
    pub(crate) fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
        };
        self.until_ms << 27
            | u64::from(self.generation) << 15
            | u64::from(self.trips) << 10
            | u64::from(self.successes) << 6
            | u64::from(self.permits) << 2
            | phase
    }

    pub(crate) fn unpack(word: u64) -> Self {
        let bits =
            |shift: u32, mask: u8| u8::try_from(word >> shift & u64::from(mask)).unwrap_or(0);
        Self {
            phase: match word & 3 {
                0 => Phase::Closed,
                1 => Phase::Open,
                _ => Phase::HalfOpen,
            },
            generation: u16::try_from(word >> 15 & u64::from(GENERATION_MASK)).unwrap_or(0),
            until_ms: word >> 27,
            permits: bits(2, 15),
            successes: bits(6, 15),
            trips: bits(10, 31),
        }
    }
}
