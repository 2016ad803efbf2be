//! Breakers that do not decide for themselves: observing ones, and those an operator holds.

use super::*;

#[test]
fn observe_refuses_nothing_and_says_what_it_would_have_refused() {
    let breaker = breaker(model::Breaker {
        mode: BreakerMode::Observe,
        ..settings()
    });
    open(&breaker);
    let permit = permit(&breaker, 1);
    assert!(permit.would_refuse() && !permit.is_trial());
    assert_eq!(permit.record(Outcome::Failure, MS, at(1), 7), None);
    // Half-open it tries, but a request that it counts as a trial is retried as ever.
    assert!(!self::permit(&breaker, 60_000).is_trial());
}

#[test]
fn an_operator_can_hold_it_open_or_closed() {
    let held_open = breaker(model::Breaker {
        forced: Forced::Open,
        ..settings()
    });
    refused(&held_open, 0);
    assert_eq!(held_open.view(at(0)).phase, Phase::Open);
    let held_closed = breaker(model::Breaker {
        forced: Forced::Closed,
        ..settings()
    });
    for _ in 0..100 {
        assert_eq!(exchange(&held_closed, 0, Outcome::Failure), None);
    }
}
