//! What to make of a random number: shares, bounds, jitter. Pure: the number is an argument.
//!
//! One 64-bit number per decision comes from the worker's own generator; [`split`] makes as many as a
//! decision needs, so that a fixed seed replays a decision exactly.

use std::time::Duration;

/// Two independent numbers out of one (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
pub const fn split(random: u64) -> (u64, u64) {
    (mix(random), mix(random ^ 0x6a09_e667_f3bc_c909))
}

const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `bound`; 0 if `bound` is 0. Lemire's multiplication: no division, bias below 2⁻³².
pub const fn below(random: u64, bound: u64) -> u64 {
    ((random as u128 * bound as u128) >> 64) as u64
}

/// As [`below`], for positions in a slice.
pub fn index(random: u64, length: usize) -> usize {
    usize::try_from(below(random, length as u64)).unwrap_or(0)
}

/// A duration anywhere in `[0, max)`: full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter").
pub fn up_to(max: Duration, random: u64) -> Duration {
    Duration::from_micros(below(
        random,
        u64::try_from(max.as_micros()).unwrap_or(u64::MAX),
    ))
}

/// `middle` ± 50 %: what opened or was ejected together does not come back together.
pub fn around(middle: Duration, random: u64) -> Duration {
    middle / 2 + up_to(middle, random)
}

/// True in `percent` of a hundred cases.
pub const fn happens(percent: u8, random: u64) -> bool {
    below(random, 100) < percent as u64
}
