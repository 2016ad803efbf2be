//! Peak-EWMA: what an endpoint's next answer will take, judged pessimistically and forgotten slowly.
//!
//! A slower sample replaces the average at once, faster ones pull it down over τ = 10 s; without samples it
//! decays, so that nobody stays shunned for an old sin (Finagle's `peak_ewma`, linkerd2's). Pure rule over
//! one word: cost as `f32` microseconds, and the millisecond of its last change.

use std::time::Duration;

use crate::{
    atomic::{AtomicU64, Ordering},
    clock::Tick,
};

/// How fast the past fades. 10 s: long against a request, short against an incident.
const DECAY_MS: f32 = 10_000.0;

/// What an unknown endpoint is believed to take. 30 ms: pessimistic inside a data centre, so that a new
/// endpoint is tried, not flooded.
const INITIAL: Duration = Duration::from_millis(30);

/// The least that a failure costs: errors are often fast, and must not look attractive.
const PENALTY: Duration = Duration::from_secs(5);

/// The most that a peer's `Retry-After` adds: it may ask for patience, not for exile.
const PENALTY_MAX: Duration = Duration::from_secs(30);

/// One endpoint's expected response time, shared by all workers.
#[derive(Debug)]
pub(super) struct PeakEwma(AtomicU64);

impl PeakEwma {
    pub(super) fn new(now: Tick) -> Self {
        Self(AtomicU64::new(pack(INITIAL.as_secs_f32() * 1e6, now)))
    }

    /// Expected microseconds, decayed to now.
    pub(super) fn cost(&self, now: Tick) -> f32 {
        let (cost, at) = unpack(self.0.load(Ordering::Relaxed));
        decayed(cost, at, now)
    }

    pub(super) fn observe(&self, sample: Duration, now: Tick) {
        let sample = sample.as_secs_f32() * 1e6;
        let step = |word| Some(pack(observed(unpack(word), sample, now), now));
        // Never fails: the step always has an answer.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

/// What a failed attempt counts as.
pub(super) fn penalty(retry_after: Option<Duration>) -> Duration {
    PENALTY.max(retry_after.unwrap_or_default().min(PENALTY_MAX))
}

fn observed((cost, at): (f32, u32), sample: f32, now: Tick) -> f32 {
    let decayed = decayed(cost, at, now);
    if sample >= decayed {
        sample
    } else {
        decayed + (sample * (1.0 - weight(at, now)))
    }
}

fn decayed(cost: f32, at: u32, now: Tick) -> f32 {
    cost * weight(at, now)
}

/// How much of the past is left: `e^(−Δ/τ)`. Milliseconds modulo 2³²; a Δ of more than 24 days is a clock
/// of another worker that was ahead of ours, hence zero.
fn weight(at: u32, now: Tick) -> f32 {
    let elapsed = low_millis(now).wrapping_sub(at);
    match elapsed {
        0 => 1.0,
        1..0x8000_0000 => (-(elapsed as f32) / DECAY_MS).exp(),
        _ => 1.0,
    }
}

fn low_millis(now: Tick) -> u32 {
    u32::try_from(now.as_millis() & 0xffff_ffff).unwrap_or(0)
}

fn pack(cost: f32, now: Tick) -> u64 {
    u64::from(cost.to_bits()) << 32 | u64::from(low_millis(now))
}

fn unpack(word: u64) -> (f32, u32) {
    let low = |word: u64| u32::try_from(word & 0xffff_ffff).unwrap_or(0);
    (f32::from_bits(low(word >> 32)), low(word))
}

#[cfg(test)]
mod tests;
