//! How long a peer keeps an idle connection, as far as it says so or was caught closing one.
//!
//! A request that meets the close is lost (flag `CR`) unless it may be repeated, so what one such race taught holds
//! for the connections after it. It is forgotten step by step: the peer may only have been restarting. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::http::headers::KeepAlive;

/// An idle connection is not reused after this time: servers commonly close after 5 s.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(3);

/// However long a peer promises: descriptors are worth more than handshakes to an application beside us.
const PROMISE_MAX: Duration = Duration::from_secs(60);

/// What `Keep-Alive: timeout` promises is shortened by a round trip and a scheduling delay.
const SAFETY: Duration = Duration::from_millis(500);

/// After so long without another race the learned bound doubles.
const DOUBLES_AFTER: Duration = Duration::from_secs(60);

/// What one race taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Learned {
    bound: Duration,
    at: Instant,
}

/// How long a connection may idle that was put back with `keep`.
pub(super) fn bound(keep: KeepAlive, learned: Option<Learned>, now: Instant) -> Duration {
    let said = match keep {
        KeepAlive::Unsaid => IDLE_MAX,
        KeepAlive::For(time) => time.saturating_sub(SAFETY).min(PROMISE_MAX),
    };
    learned.map_or(said, |learned| said.min(learned.holds(now)))
}

impl Learned {
    /// A connection was closed under a request after it had idled for `idled`. Half of it: the peer may have begun
    /// to close long before we noticed. Not called for times so short that next to nothing could be reused.
    pub(super) fn from_race(idled: Duration, before: Option<Self>, now: Instant) -> Self {
        let bound = idled / 2;
        let before = before.map(|before| before.holds(now));
        Self {
            bound: before.map_or(bound, |before| before.min(bound)),
            at: now,
        }
    }

    fn holds(self, now: Instant) -> Duration {
        let doublings = now.saturating_duration_since(self.at).as_secs() / DOUBLES_AFTER.as_secs();
        let doublings = u32::try_from(doublings).unwrap_or(u32::MAX).min(20);
        self.bound.saturating_mul(1 << doublings)
    }
}
