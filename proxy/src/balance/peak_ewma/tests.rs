//! Slow is believed at once, fast only gradually.

use super::*;

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn an_unknown_endpoint_is_believed_to_take_thirty_milliseconds() {
    assert!((PeakEwma::new(at(5)).cost(at(5)) - 30_000.0).abs() < 1.0);
}

#[test]
fn a_slower_sample_replaces_at_once_and_a_faster_one_pulls_down() {
    let speed = PeakEwma::new(at(0));
    speed.observe(200 * MS, at(1));
    assert!((speed.cost(at(1)) - 200_000.0).abs() < 1.0);
    speed.observe(2 * MS, at(1));
    assert!(
        speed.cost(at(1)) > 199_000.0,
        "no time has passed: nothing is forgotten"
    );
    speed.observe(2 * MS, at(10_001));
    let pulled = speed.cost(at(10_001));
    // After τ: 1/e of the past, the rest of the sample.
    assert!((70_000.0..80_000.0).contains(&pulled), "{pulled}");
}

#[test]
fn the_past_fades_without_samples() {
    let speed = PeakEwma::new(at(0));
    speed.observe(penalty(None), at(0));
    assert!(speed.cost(at(0)) >= 4_999_000.0);
    assert!(speed.cost(at(100_000)) < 1_000.0);
}

#[test]
fn a_failure_costs_five_to_thirty_seconds() {
    for (asked, cost) in [(None, 5), (Some(1), 5), (Some(12), 12), (Some(3600), 30)] {
        assert_eq!(
            penalty(asked.map(Duration::from_secs)),
            Duration::from_secs(cost)
        );
    }
}

#[test]
fn a_clock_that_is_behind_forgets_nothing() {
    let speed = PeakEwma::new(at(10));
    assert!((speed.cost(at(0)) - 30_000.0).abs() < 1.0);
}
