//! A retry budget is a share of requests, and never negative.

use std::time::Duration;

use proptest::prelude::*;
use usher_config::{model, value::Percent};

use super::*;

fn budget(percent: u8, min_count: u32) -> RetryBudget {
    let settings = model::RetryBudget {
        percent: Percent::clamped(percent),
        interval: Duration::from_secs(10),
        min_count,
        min_interval: Duration::from_secs(1),
    };
    RetryBudget::new(&settings, 2)
}

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

fn granted(budget: &RetryBudget, now: u64) -> usize {
    (0..1000).take_while(|_| budget.withdraw(at(now))).count()
}

#[test]
fn twenty_percent_of_a_hundred_requests_are_twenty_retries() {
    let budget = budget(20, 0);
    for request in 0..100 {
        budget.deposit(request % 2, at(0));
    }
    assert_eq!(granted(&budget, 0), 20);
}

#[test]
fn the_minimum_rate_is_there_without_any_requests_and_again_every_interval() {
    let budget = budget(20, 10);
    assert_eq!(granted(&budget, 0), 10);
    assert_eq!(granted(&budget, 999), 0);
    assert_eq!(granted(&budget, 1000), 10);
}

#[test]
fn old_requests_and_old_retries_no_longer_count() {
    let budget = budget(50, 0);
    (0..10).for_each(|_| budget.deposit(0, at(0)));
    assert_eq!(granted(&budget, 0), 5);
    (0..10).for_each(|_| budget.deposit(0, at(9_999)));
    assert_eq!(granted(&budget, 9_999), 5);
    assert_eq!(
        granted(&budget, 10_000),
        0,
        "ten requests are left, and the five retries made for them"
    );
    (0..10).for_each(|_| budget.deposit(0, at(10_000)));
    assert_eq!(granted(&budget, 10_000), 5);
    assert_eq!(granted(&budget, 60_000), 0);
}

proptest! {
    #[test]
    fn retries_never_exceed_the_share(
        acts in prop::collection::vec((any::<bool>(), 0..700u64), 1..500),
        percent in 0..=100u8,
    ) {
        let budget = budget(percent, 0);
        let (mut now, mut requests, mut retries) = (0, Vec::new(), Vec::new());
        for (deposits, wait) in acts {
            now += wait;
            if deposits {
                budget.deposit(0, at(now));
                requests.push(now);
            } else if budget.withdraw(at(now)) {
                retries.push(now);
                // Buckets: younger than nine seconds is counted for sure, older than ten for sure not.
                let within = |times: &[u64], span: u64| {
                    times.iter().filter(|time| now - **time < span).count() as u64
                };
                prop_assert!(within(&retries, 9_000) <= within(&requests, 10_000) * u64::from(percent) / 100);
            }
            prop_assert!(budget.spent(at(now)) <= retries.len() as u64, "refusals are taken back");
        }
    }

    #[test]
    fn without_a_share_the_minimum_rate_is_all(waits in prop::collection::vec(0..300u64, 1..300), min_count in 0..5u32) {
        let budget = budget(0, min_count);
        let (mut now, mut granted) = (0, std::collections::HashMap::new());
        for wait in waits {
            now += wait;
            if budget.withdraw(at(now)) {
                *granted.entry(now / 1000).or_insert(0) += 1;
            }
        }
        prop_assert!(granted.values().all(|count| *count <= min_count));
    }
}
