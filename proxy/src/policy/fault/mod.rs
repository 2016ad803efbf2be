//! Faults: which requests are delayed or aborted on purpose, until the policy expires.
//!
//! Decided before anything else may learn from the request: no breaker, no endpoint and no budget hears of it. Pure;
//! the wall clock's time is an argument, because an expiry is a date.

use std::time::{Duration, SystemTime};

use usher_config::{
    model::{Fault, FaultAnswer},
    value::Percent,
};

use crate::random;

/// What is done to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// It waits first.
    pub delay: Option<Duration>,
    /// It is answered by this proxy.
    pub abort: Option<FaultAnswer>,
}

/// Decides for a request that has the fault's headers. `random` makes one draw for each half.
pub fn decide(fault: &Fault, now: SystemTime, random: u64) -> Injected {
    if now >= fault.expires_at {
        return Injected::default();
    }
    let (one, two) = random::split(random);
    let drawn = |percent: Percent, luck| random::below(luck, 100) < u64::from(percent.get());
    let delay = fault.delay.filter(|(percent, _)| drawn(*percent, one));
    let abort = fault.abort.filter(|(percent, _)| drawn(*percent, two));
    Injected {
        delay: delay.map(|(_, delay)| delay),
        abort: abort.map(|(_, answer)| answer),
    }
}

#[cfg(test)]
mod tests;
