//! The only place that reads time: everything else takes a [`Tick`].
//!
//! A tick counts microseconds since the process began, so that one clock read per event serves latency
//! samples, windows and deadlines alike, and so that a moment fits beside other fields in one atomic word.
//! Tests make ticks out of numbers and never sleep.

use std::{
    ops::Add,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

static EPOCH: OnceLock<Instant> = OnceLock::new();

/// A moment, in microseconds since the process began. Monotonic; 64 bits last for 584,000 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// The process's beginning.
    pub const ZERO: Self = Self(0);

    /// For tests and for moments that came packed.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// For tests and for moments that came packed.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Whole milliseconds, rounded down: what atomic words hold.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// Whole milliseconds, rounded up: for moments before which nothing may happen.
    pub const fn as_millis_ceil(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// Microseconds since the process began.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

fn epoch() -> Instant {
    *EPOCH.get_or_init(Instant::now)
}

/// This moment. About 20 ns (vDSO); read once per event and handed on.
pub fn now() -> Tick {
    tick_of(Instant::now())
}

/// The tick of an instant that somebody else read, such as tokio's paused clock in tests.
pub fn tick_of(instant: Instant) -> Tick {
    Tick::ZERO + instant.saturating_duration_since(epoch())
}

/// The instant of a tick, for timers.
pub fn instant_of(tick: Tick) -> Instant {
    epoch() + tick.since(Tick::ZERO)
}

/// Wall time, for what people and certificates read. It may jump; decisions use ticks.
pub fn wall() -> SystemTime {
    SystemTime::now()
}
