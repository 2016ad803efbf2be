//! Ejection's rule: `(state, event, time) → state`.
//!
//! In → Out after failures in a row (or a bad success rate); Out → Probing when somebody asks after the
//! time; Probing → In on success, → Out for longer on failure. Results of attempts that began before the
//! ejection change nothing while an endpoint is out: only its probe counts.

use std::time::Duration;

use crate::{clock::Tick, random};

/// Where an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    In,
    Out,
    /// One request tries it; others may try again after its deadline.
    Probing,
}

/// Packs into 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) standing: Standing,
    /// In a row, while in. Saturates.
    pub(crate) failures: u16,
    /// Exponent of the next ejection's length.
    pub(crate) times: u8,
    /// Milliseconds. In: since when; out: until when; probing: deadline. 40 bits, 34 years.
    pub(crate) at_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Succeeded,
    Failed,
    /// The success rate of its window is below the threshold.
    RateTooLow,
    /// Somebody would use it if it may be probed.
    Ask,
    ProbeSucceeded,
    ProbeFailed,
    /// The probe ended without a verdict.
    ProbeCancelled,
    /// It may not be chosen any more, whatever its standing: nobody will probe it.
    Retired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) consecutive_failures: u32,
    pub(crate) base: Duration,
    pub(crate) max: Duration,
}

/// For a probe's verdict. 10 s: longer than any sane response, short against the ejections it ends.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);
const FAILURES_MAX: u16 = 0x7fff;
const TIMES_MAX: u8 = 31;
const AT_MAX: u64 = (1 << 40) - 1;

impl State {
    pub(crate) const NEW: Self = Self {
        standing: Standing::In,
        failures: 0,
        times: 0,
        at_ms: 0,
    };

    /// The whole rule. Whether there is room for one more outside is the caller's to know.
    pub(crate) fn step(self, event: Event, now: Tick, luck: u64, rules: &Rules) -> Self {
        let due = now.as_millis() >= self.at_ms;
        match (self.standing, event) {
            (Standing::In, Event::Succeeded) => Self {
                failures: 0,
                ..self
            },
            (Standing::In, Event::Failed) => self.failed(now, luck, rules),
            (Standing::In, Event::RateTooLow) => self.ejected(now, luck, rules),
            (Standing::Out | Standing::Probing, Event::Ask) if due => Self {
                standing: Standing::Probing,
                at_ms: at(now + PROBE_DEADLINE),
                ..self
            },
            (Standing::Out | Standing::Probing, Event::ProbeSucceeded) => {
                let at_ms = now.as_millis().min(AT_MAX);
                Self {
                    standing: Standing::In,
                    failures: 0,
                    at_ms,
                    ..self
                }
            }
            (Standing::Out | Standing::Probing, Event::Retired) => Self {
                standing: Standing::In,
                failures: 0,
                at_ms: now.as_millis().min(AT_MAX),
                ..self
            },
            (Standing::Probing, Event::ProbeFailed) => self.ejected(now, luck, rules),
            (Standing::Probing, Event::ProbeCancelled) => Self {
                standing: Standing::Out,
                at_ms: 0,
                ..self
            },
            _ => self,
        }
    }

    /// What remains where there is no room outside: in, and at the brink.
    pub(crate) fn retained(self, rules: &Rules) -> Self {
        let brink = rules.consecutive_failures.saturating_sub(1);
        let failures = u16::try_from(brink)
            .unwrap_or(FAILURES_MAX)
            .min(FAILURES_MAX);
        Self { failures, ..self }
    }

    fn failed(self, now: Tick, luck: u64, rules: &Rules) -> Self {
        let failures = self.failures.saturating_add(1).min(FAILURES_MAX);
        if u32::from(failures) >= rules.consecutive_failures.clamp(1, FAILURES_MAX.into()) {
            self.ejected(now, luck, rules)
        } else {
            Self { failures, ..self }
        }
    }

    /// An endpoint that stayed in for as long as the longest ejection starts anew.
    fn ejected(self, now: Tick, luck: u64, rules: &Rules) -> Self {
        let well_for = now.since(Tick::from_millis(self.at_ms));
        let reformed = self.standing == Standing::In && well_for >= rules.max;
        let times = if reformed { 0 } else { self.times };
        let length = rules
            .base
            .saturating_mul(1 << times.min(30))
            .min(rules.max.max(rules.base));
        let at_ms = at(now + random::around(length, luck));
        let times = times.saturating_add(1).min(TIMES_MAX);
        Self {
            standing: Standing::Out,
            failures: 0,
            times,
            at_ms,
        }
    }

    /// `at 40 | failures 15 | times 5 | standing 2`.
    pub(crate) fn pack(self) -> u64 {
        let standing = match self.standing {
            Standing::In => 0,
            Standing::Out => 1,
            Standing::Probing => 2,
        };
        self.at_ms << 24 | u64::from(self.failures) << 7 | u64::from(self.times) << 2 | standing
    }

    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            standing: match word & 3 {
                0 => Standing::In,
                1 => Standing::Out,
                _ => Standing::Probing,
            },
            failures: u16::try_from(word >> 7 & u64::from(FAILURES_MAX)).unwrap_or(0),
            times: u8::try_from(word >> 2 & 31).unwrap_or(0),
            at_ms: word >> 24,
        }
    }
}

fn at(tick: Tick) -> u64 {
    tick.as_millis_ceil().min(AT_MAX)
}
