//! Slow start: an endpoint that is new, well again, or back from ejection is passed over now and then, ever less often.
//!
//! A share of its turns, not a factor on its cost: a cost only matters when endpoints are busy, and then a cold one
//! would get nothing until it got everything.

use std::time::Duration;

use usher_config::model::SlowStart;

use crate::random;

/// Whether an endpoint that has been in use for `age` takes this turn.
pub(super) fn takes_turn(slow: &SlowStart, age: Duration, luck: u64) -> bool {
    age >= slow.window || random::below(luck, MILLION) < share(slow, age)
}

const MILLION: u64 = 1_000_000;

/// In millionths: from the first share to the whole, in proportion to time.
fn share(slow: &SlowStart, age: Duration) -> u64 {
    let first = u64::from(slow.min_percent.get()) * (MILLION / 100);
    let window = slow.window.as_micros().max(1);
    let gained = u128::from(MILLION - first) * age.as_micros().min(window) / window;
    first + u64::try_from(gained).unwrap_or(0)
}
