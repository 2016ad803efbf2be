//! Deadlines: how long a request may take, from what its caller allows and what policy says.
//!
//! A deadline travels with the request and shrinks at every hop (SEMANTICS §7), so that nobody works on an
//! answer that nobody waits for. Pure: now is an argument.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use usher_config::model;

use crate::clock::Tick;

/// gRPC's own.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Ours, in whole milliseconds that remain.
pub const DEADLINE: HeaderName = HeaderName::from_static("x-usher-deadline-ms");
/// Envoy's, in whole milliseconds.
pub const ENVOY: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// What this hop keeps of its caller's time, to answer 504 before the caller gives up.
pub const MARGIN: Duration = Duration::from_millis(5);

/// When a request must have its response headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Neither caller nor policy sets one.
    None,
    /// By then.
    At {
        /// The moment.
        tick: Tick,
        /// Whose: decides between `DE` (caller) and `UT` (policy).
        set_by: SetBy,
    },
    /// The caller's time was over when the request came: 504 `DE`, without calling anybody.
    Expired,
}

/// Whose time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// The caller's header.
    Caller,
    /// The route's or service's policy.
    Policy,
}

impl Deadline {
    /// The earlier of the caller's (less [`MARGIN`]) and the policy's. For gRPC policy counts only if it
    /// was written by somebody.
    pub fn of(headers: &HeaderMap, timeouts: &model::Timeouts, grpc: bool, now: Tick) -> Self {
        let policy = timeouts
            .request
            .filter(|_| !grpc || timeouts.request_is_explicit);
        match (allowed_by_caller(headers, grpc), policy) {
            (Some(caller), _) if caller <= MARGIN => Self::Expired,
            (Some(caller), Some(policy)) if policy < caller - MARGIN => {
                Self::by_policy(now, policy)
            }
            (Some(caller), _) => Self::At {
                tick: now + (caller - MARGIN),
                set_by: SetBy::Caller,
            },
            (None, Some(policy)) => Self::by_policy(now, policy),
            (None, None) => Self::None,
        }
    }

    fn by_policy(now: Tick, policy: Duration) -> Self {
        Self::At {
            tick: now + policy,
            set_by: SetBy::Policy,
        }
    }

    /// What is left; `None`: no limit.
    pub fn remaining(self, now: Tick) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::At { tick, .. } => Some(tick.since(now)),
            Self::Expired => Some(Duration::ZERO),
        }
    }

    /// The time for one attempt: what is left, or less by `backendRequest`.
    pub fn attempt(self, per_try: Option<Duration>, now: Tick) -> Option<Duration> {
        match (self.remaining(now), per_try) {
            (Some(left), Some(per_try)) => Some(left.min(per_try)),
            (left, per_try) => left.or(per_try),
        }
    }
}

/// The shortest of the three headers, gRPC's only for gRPC. An unreadable one is as if absent: it promises nothing.
fn allowed_by_caller(headers: &HeaderMap, grpc: bool) -> Option<Duration> {
    let millis = |name: &HeaderName| parse_millis(headers.get(name)?.as_bytes());
    let grpc = headers
        .get(GRPC_TIMEOUT)
        .filter(|_| grpc)
        .and_then(|value| parse_grpc_timeout(value.as_bytes()));
    [grpc, millis(&DEADLINE), millis(&ENVOY)]
        .into_iter()
        .flatten()
        .min()
}

/// Writes what is left onto an attempt's headers: ours always, gRPC's for gRPC, Envoy's where it was.
/// Removes all three when there is no limit.
pub fn write(headers: &mut HeaderMap, remaining: Option<Duration>, grpc: bool) {
    let Some(remaining) = remaining else {
        for name in [GRPC_TIMEOUT, DEADLINE, ENVOY] {
            headers.remove(name);
        }
        return;
    };
    let mut millis = HeaderValue::from(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX));
    // Different each time: nothing for HPACK's table.
    millis.set_sensitive(true);
    if let Some(envoy) = headers.get_mut(ENVOY) {
        *envoy = millis.clone();
    }
    headers.insert(DEADLINE, millis);
    if grpc {
        let mut timeout = grpc_timeout(remaining);
        timeout.set_sensitive(true);
        headers.insert(GRPC_TIMEOUT, timeout);
    }
}

fn parse_millis(text: &[u8]) -> Option<Duration> {
    (text.len() <= 12)
        .then(|| digits(text))
        .flatten()
        .map(Duration::from_millis)
}

/// `1*8DIGIT` and one of `H M S m u n` (gRPC over HTTP/2, "Timeout").
pub fn parse_grpc_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, number) = text.split_last()?;
    let number = (number.len() <= 8).then(|| digits(number)).flatten()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

fn digits(text: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() {
        None
    } else {
        text.iter().try_fold(0, add)
    }
}

/// In the finest unit whose number has at most 8 digits, rounded down: a callee never has more time than we.
pub fn grpc_timeout(remaining: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [
        (remaining.as_nanos(), 'n'),
        (remaining.as_micros(), 'u'),
        (remaining.as_millis(), 'm'),
        (u128::from(remaining.as_secs()), 'S'),
        (u128::from(remaining.as_secs() / 60), 'M'),
    ];
    let hours = (u128::from(remaining.as_secs() / 3600).min(MOST), 'H');
    let (number, unit) = units
        .into_iter()
        .find(|(number, _)| *number <= MOST)
        .unwrap_or(hours);
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests;
