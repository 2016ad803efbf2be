//! When a stream ends for another, how long to wait between the two, and whether the next one goes to the same control
//! plane. No clock.

use std::time::{Duration, Instant};

use tonic::Status;
use usher_config::wire::RETRY_PUSHBACK;

pub(super) const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longer, and an instance that moved during an outage would be missed for as long after it; ten thousand sidecars that come
/// back within it are a thousand handshakes a second, a fraction of one core.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longer, and a control plane that miscounts would have a sidecar run on what it knew.
const PUSHBACK_MAX: Duration = Duration::from_secs(90);

/// Longer, and a sidecar has two connections for longer, of which a control plane counts one.
const FOLLOWS_MAX: Duration = Duration::from_secs(30);

/// After a stream, before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) wait: Duration,
    /// Nobody else is to be asked, and the connection is a good one.
    pub(super) stays: bool,
}

impl Pause {
    /// After a stream that ended so, the last of so many failures in a row, with so many control planes; `chance` from 0
    /// to 1.
    ///
    /// A control plane that has more to do than it can at once says when it wants us: a moment that is ours, and so not
    /// moved at random. But while another one was not asked, that one may have time for us now.
    pub(super) fn after(status: &Status, (failures, members): (u32, usize), chance: f64) -> Self {
        let members = u32::try_from(members).unwrap_or(u32::MAX).max(1);
        match wanted_again(status).filter(|_| failures.is_multiple_of(members)) {
            Some(wait) => Self {
                wait,
                stays: members == 1,
            },
            None => Self {
                wait: backoff(failures, chance),
                stays: false,
            },
        }
    }
}

fn wanted_again(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get(RETRY_PUSHBACK)?.to_str().ok()?;
    let after = Duration::from_millis(millis.parse().ok()?);
    Some(after.min(PUSHBACK_MAX))
}

/// 0.2 s doubling to 10 s, of which a random half to all is waited: a restarted control plane is not met by all
/// its proxies at once.
fn backoff(failures: u32, chance: f64) -> Duration {
    let full = PAUSE_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(PAUSE_MAX);
    full.mul_f64(0.5 + chance / 2.0)
}

/// When a stream follows the calls onto another connection. What has sent them there may be the same for many sidecars at once
/// (another trust bundle, an old connection), so each takes its time.
#[derive(Debug)]
pub(super) struct Follows {
    patience: Duration,
    since: Option<Instant>,
}

impl Follows {
    /// `chance` from 0 to 1.
    pub(super) fn new(chance: f64) -> Self {
        Self {
            patience: FOLLOWS_MAX.mul_f64(chance.clamp(0.0, 1.0)),
            since: None,
        }
    }

    /// Whether it is time, if calls have `moved` on.
    pub(super) fn is_due(&mut self, moved: bool, now: Instant) -> bool {
        if !moved {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.patience
    }
}

#[cfg(test)]
mod tests;
