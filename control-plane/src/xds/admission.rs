//! Who may begin: sidecars that get their first snapshot now, those that wait in line, and those that are told when to
//! come again. Pure: time and chance are arguments.
//!
//! A control plane that starts again meets its whole mesh at once. To wait in line is cheap for both: a connection that
//! has to be had anyway. So only who would wait long is sent away, and not with "later": each gets a moment of its own,
//! one after the other at the pace at which the line has moved, so that those who come again are no second storm.

use std::time::{Duration, Instant};

/// At which pace the line is thought to move before it has moved: that of one core which shakes hands, too.
const PACE_FIRST: Duration = Duration::from_millis(2);

/// What is measured is within these: one snapshot takes longer than the one and is given up before the other.
const PACE_MIN: Duration = Duration::from_micros(100);
const PACE_MAX: Duration = Duration::from_secs(1);

/// How many steps of the line its pace is the mean of, about. More than a moment's: acknowledgements come in bursts.
const STEPS: u32 = 128;

/// By how much a moment is moved at random, as a share of the way there: each way.
const JITTER: f64 = 0.1;

/// How many may begin, wait, and be told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// So many have their first snapshot made and sent at once.
    pub places: usize,
    /// The longest that anybody is let wait in line, as far as can be told when they come.
    pub wait_max: Duration,
    /// The longest that anybody is told to stay away.
    pub away_max: Duration,
}

/// What becomes of a sidecar that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// There is a place.
    Begins,
    /// It is the last in line.
    Waits,
    /// The line is too long.
    ComesAgain {
        /// From now.
        after: Duration,
    },
}

/// Those inside and in line. The first in line goes in whenever somebody leaves.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    here: usize,
    /// Of one step of the line.
    pace: Duration,
    /// The last step of a line that was not empty after it.
    stepped: Option<Instant>,
    /// The last moment that was given to somebody.
    given: Option<Instant>,
}

impl Admission {
    /// Nobody is here.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            here: 0,
            pace: PACE_FIRST,
            stepped: None,
            given: None,
        }
    }

    /// How many stand in line.
    pub fn waiting(&self) -> usize {
        self.here.saturating_sub(self.bounds.places)
    }

    /// Somebody comes, who counts as here unless told to come again; `chance` from 0 to 1.
    pub fn comes(&mut self, now: Instant, chance: f64) -> Decision {
        if self.here < self.bounds.places {
            self.here += 1;
            return Decision::Begins;
        }
        if self.steps(self.waiting() + 1) <= self.bounds.wait_max {
            self.here += 1;
            return Decision::Waits;
        }
        // When half of the line is through: who comes then finds room, and the line has not run dry.
        let room = now + self.steps(self.waiting()) / 2;
        let next = self.given.map_or(room, |given| room.max(given)) + self.pace;
        let next = next.min(now + self.bounds.away_max);
        self.given = Some(next);
        let share = 1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0);
        let after = next.saturating_duration_since(now).mul_f64(share);
        Decision::ComesAgain { after }
    }

    /// Somebody inside is done.
    pub fn leaves(&mut self, now: Instant) {
        if self.waiting() > 0 {
            if let Some(stepped) = self.stepped {
                let step = now.saturating_duration_since(stepped);
                let step = step.clamp(PACE_MIN, PACE_MAX);
                self.pace = (self.pace * (STEPS - 1) + step) / STEPS;
            }
            self.stepped = Some(now);
        } else {
            self.stepped = None;
        }
        self.here = self.here.saturating_sub(1);
    }

    /// Somebody in line has gone.
    pub fn gives_up(&mut self) {
        self.here = self.here.saturating_sub(1);
    }

    fn steps(&self, number: usize) -> Duration {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.pace.saturating_mul(number)
    }
}

#[cfg(test)]
mod tests;
