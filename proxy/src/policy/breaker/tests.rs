//! A breaker opens, rests, tries and closes; nothing old disturbs it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use proptest::prelude::*;
use usher_config::model::{self, BreakerMode, Forced};

use super::{
    state::{GENERATION_MASK, TRIPS_MAX},
    *,
};

mod held;

const MS: Duration = Duration::from_millis(1);

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

fn settings() -> model::Breaker {
    model::Breaker::default()
}

fn breaker(settings: model::Breaker) -> Arc<Breaker> {
    Arc::new(Breaker::new(settings, 2))
}

fn permit(breaker: &Arc<Breaker>, now: u64) -> Permit {
    match breaker.admit(0, at(now), 7).admission {
        Admission::Admitted(permit) => permit,
        Admission::Refused { .. } => panic!("refused at {now}"),
    }
}

fn refused(breaker: &Arc<Breaker>, now: u64) -> Duration {
    match breaker.admit(0, at(now), 7).admission {
        Admission::Admitted(_) => panic!("admitted at {now}"),
        Admission::Refused { retry_after } => retry_after,
    }
}

fn exchange(breaker: &Arc<Breaker>, now: u64, outcome: Outcome) -> Option<Transition> {
    permit(breaker, now).record(outcome, MS, at(now), 7)
}

/// Opens at time 0; returns when the rest is over.
fn open(breaker: &Arc<Breaker>) -> u64 {
    let transitions = (0..20).filter_map(|_| exchange(breaker, 0, Outcome::Failure));
    let opened: Vec<_> = transitions.collect();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].to, Phase::Open);
    u64::try_from(opened[0].lasts.as_millis()).unwrap()
}

#[test]
fn opens_when_half_of_twenty_fail() {
    let breaker = breaker(settings());
    for _ in 0..10 {
        assert_eq!(exchange(&breaker, 0, Outcome::Success), None);
    }
    for _ in 0..9 {
        assert_eq!(exchange(&breaker, 0, Outcome::Failure), None);
    }
    assert_eq!(
        exchange(&breaker, 0, Outcome::Failure).unwrap().to,
        Phase::Open
    );
    assert!(refused(&breaker, 1) > Duration::ZERO);
}

#[test]
fn a_success_that_completes_the_minimum_opens_too() {
    let breaker = breaker(settings());
    for _ in 0..19 {
        assert_eq!(exchange(&breaker, 0, Outcome::Failure), None);
    }
    assert_eq!(
        exchange(&breaker, 0, Outcome::Success).unwrap().to,
        Phase::Open
    );
}

#[test]
fn old_failures_leave_the_window() {
    let breaker = breaker(settings());
    for _ in 0..19 {
        exchange(&breaker, 0, Outcome::Failure);
    }
    assert_eq!(exchange(&breaker, 10_000, Outcome::Failure), None);
    assert_eq!(breaker.view(at(10_000)).counts.total, 1);
}

#[test]
fn opens_when_every_call_is_slow() {
    let breaker = breaker(settings());
    let slow = |_| permit(&breaker, 0).record(Outcome::Success, 2001 * MS, at(0), 7);
    assert_eq!((0..20).filter_map(slow).count(), 1);
}

#[test]
fn what_says_nothing_about_the_dependency_counts_for_nothing() {
    let breaker = breaker(settings());
    for _ in 0..100 {
        exchange(&breaker, 0, Outcome::Ignored);
        drop(permit(&breaker, 0));
    }
    assert_eq!(breaker.view(at(0)).counts, Counts::default());
}

#[test]
fn the_rest_is_five_seconds_give_or_take_half() {
    for random in [0, u64::MAX / 2, u64::MAX] {
        let breaker = breaker(settings());
        let record = |_| permit(&breaker, 0).record(Outcome::Failure, MS, at(0), random);
        let lasts = (0..20).find_map(record).unwrap().lasts.as_millis();
        assert!((2500..=7500).contains(&lasts), "{lasts}");
    }
}

#[test]
fn exactly_three_trials_pass_and_three_successes_close() {
    let breaker = breaker(settings());
    let rest = open(&breaker);
    refused(&breaker, rest - 1);
    let first = breaker.admit(0, at(rest), 7);
    assert_eq!(first.transition.unwrap().to, Phase::HalfOpen);
    let Admission::Admitted(first) = first.admission else {
        panic!("refused")
    };
    let (second, third) = (permit(&breaker, rest), permit(&breaker, rest));
    assert!(first.is_trial() && second.is_trial() && third.is_trial());
    refused(&breaker, rest);
    assert_eq!(first.record(Outcome::Success, MS, at(rest), 7), None);
    assert_eq!(second.record(Outcome::Success, MS, at(rest), 7), None);
    // Successes are no new permits.
    refused(&breaker, rest);
    assert_eq!(
        third.record(Outcome::Success, MS, at(rest), 7).unwrap().to,
        Phase::Closed
    );
    assert!(!permit(&breaker, rest).is_trial());
    assert_eq!(breaker.view(at(rest)).counts, Counts::default());
}

#[test]
fn one_failed_or_slow_trial_reopens_for_twice_as_long() {
    for (outcome, elapsed) in [(Outcome::Failure, MS), (Outcome::Success, 3000 * MS)] {
        let breaker = breaker(settings());
        let rest = open(&breaker);
        let reopened = permit(&breaker, rest)
            .record(outcome, elapsed, at(rest), 7)
            .unwrap();
        assert_eq!(reopened.to, Phase::Open);
        // Same luck, twice the rest; a millisecond of rounding each.
        let again = u64::try_from(reopened.lasts.as_millis()).unwrap();
        assert!(again.abs_diff(2 * rest) <= 2, "{again} after {rest}");
    }
}

#[test]
fn the_rest_never_exceeds_its_maximum() {
    let breaker = breaker(settings());
    let mut now = open(&breaker);
    for _ in 0..40 {
        let lasts = permit(&breaker, now)
            .record(Outcome::Failure, MS, at(now), u64::MAX)
            .unwrap()
            .lasts;
        assert!(lasts <= Duration::from_millis(90_001), "{lasts:?}");
        now += u64::try_from(lasts.as_millis()).unwrap() + 1;
    }
}

#[test]
fn a_cancelled_trial_gives_its_permit_back() {
    let breaker = breaker(settings());
    let rest = open(&breaker);
    for _ in 0..10 {
        drop(permit(&breaker, rest));
        permit(&breaker, rest).record(Outcome::Ignored, MS, at(rest), 7);
    }
    let trials = [
        permit(&breaker, rest),
        permit(&breaker, rest),
        permit(&breaker, rest),
    ];
    refused(&breaker, rest);
    drop(trials);
}

#[test]
fn trials_that_hang_reopen_after_the_wait() {
    let breaker = breaker(settings());
    let rest = open(&breaker);
    let hanging = permit(&breaker, rest);
    let answer = breaker.admit(0, at(rest + 10_000), 7);
    assert_eq!(answer.transition.unwrap().to, Phase::Open);
    assert!(matches!(answer.admission, Admission::Refused { .. }));
    // The old trial's success comes too late to count.
    assert_eq!(
        hanging.record(Outcome::Success, MS, at(rest + 10_001), 7),
        None
    );
    assert_eq!(breaker.view(at(rest + 10_001)).phase, Phase::Open);
}

#[test]
fn a_breaker_that_is_hardly_asked_waits_for_its_trials() {
    let breaker = breaker(settings());
    let rest = open(&breaker);
    assert_eq!(exchange(&breaker, rest, Outcome::Success), None);
    assert_eq!(exchange(&breaker, rest + 6_000, Outcome::Success), None);
    // After the wait, in which nobody was asked in vain.
    let closed = exchange(&breaker, rest + 12_000, Outcome::Success);
    assert_eq!(closed.unwrap().to, Phase::Closed);
}

#[test]
fn a_breaker_whose_place_was_taken_announces_nothing() {
    let old = breaker(settings());
    let under_way: Vec<Permit> = (0..30).map(|_| permit(&old, 0)).collect();
    let new = Arc::new(old.renewed(settings(), 2));
    for permit in under_way {
        assert_eq!(permit.record(Outcome::Failure, MS, at(0), 7), None);
    }
    assert_eq!(new.view(at(0)).phase, Phase::Closed);
    open(&new);
}

#[test]
fn answers_of_an_older_generation_change_nothing() {
    let breaker = breaker(settings());
    let old: Vec<Permit> = (0..50).map(|_| permit(&breaker, 0)).collect();
    let rest = open(&breaker);
    let trials = [
        permit(&breaker, rest),
        permit(&breaker, rest),
        permit(&breaker, rest),
    ];
    for old in old {
        assert_eq!(old.record(Outcome::Failure, MS, at(rest), 7), None);
    }
    assert_eq!(breaker.view(at(rest)).phase, Phase::HalfOpen);
    for trial in trials {
        trial.record(Outcome::Success, MS, at(rest), 7);
    }
    assert_eq!(breaker.view(at(rest)).phase, Phase::Closed);
}

#[test]
fn new_settings_keep_an_open_breaker_open() {
    let old = breaker(settings());
    open(&old);
    let new = Arc::new(old.renewed(
        model::Breaker {
            min_requests: 5,
            ..settings()
        },
        2,
    ));
    refused(&new, 1);
}

#[test]
fn two_workers_counts_add_up() {
    let breaker = breaker(settings());
    let fail = |worker| match breaker.admit(worker, at(0), 7).admission {
        Admission::Admitted(permit) => permit.record(Outcome::Failure, MS, at(0), 7),
        Admission::Refused { .. } => panic!("refused"),
    };
    assert_eq!((0..20).filter_map(|n| fail(n % 2)).count(), 1);
}

#[test]
fn statuses_fail_as_documented() {
    let cases = [
        (200, false),
        (404, false),
        (429, false),
        (500, true),
        (501, false),
        (503, true),
        (505, false),
    ];
    for (status, failure) in cases {
        let outcome = Outcome::of_status(http::StatusCode::from_u16(status).unwrap());
        assert_eq!(outcome == Outcome::Failure, failure, "{status}");
    }
    let failing: Vec<u8> = (0..=16)
        .filter(|code| Outcome::of_grpc(*code) == Outcome::Failure)
        .collect();
    assert_eq!(failing, [4, 8, 13, 14, 15]);
}

fn any_state() -> impl Strategy<Value = State> {
    let phase = prop_oneof![
        Just(Phase::Closed),
        Just(Phase::Open),
        Just(Phase::HalfOpen)
    ];
    (
        phase,
        0..=GENERATION_MASK,
        0..1u64 << 37,
        0..16u8,
        0..16u8,
        0..=TRIPS_MAX,
    )
        .prop_map(
            |(phase, generation, until_ms, permits, successes, trips)| State {
                phase,
                generation,
                until_ms,
                permits,
                successes,
                trips,
            },
        )
}

/// What a request does in the random histories below.
#[derive(Debug, Clone)]
enum Act {
    Ask,
    Finish { which: usize, outcome: Outcome },
    Cancel { which: usize },
    Wait { millis: u64 },
}

fn any_act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        1 => Just(Outcome::Success),
        3 => Just(Outcome::Failure),
        1 => Just(Outcome::Ignored)
    ];
    prop_oneof![
        4 => Just(Act::Ask),
        4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Act::Finish { which, outcome }),
        1 => any::<usize>().prop_map(|which| Act::Cancel { which }),
        1 => (0..4000u64).prop_map(|millis| Act::Wait { millis }),
    ]
}

proptest! {
    #[test]
    fn a_state_survives_packing(state in any_state()) {
        prop_assert_eq!(State::unpack(state.pack()), state);
    }

    #[test]
    fn any_order_of_events_keeps_the_invariants(acts in prop::collection::vec(any_act(), 1..400), seed: u64) {
        let breaker = breaker(model::Breaker { min_requests: 4, ..settings() });
        let (mut now, mut held) = (0, VecDeque::new());
        for act in acts {
            match act {
                Act::Ask => if let Admission::Admitted(permit) = breaker.admit(0, at(now), seed).admission {
                    held.push_back(permit);
                },
                Act::Finish { which, outcome } if !held.is_empty() => {
                    let permit = held.remove(which % held.len()).unwrap();
                    let (before, generation) = (breaker.word.load(), permit.generation);
                    permit.record(outcome, MS, at(now), seed);
                    let after = breaker.word.load();
                    let timed_out = before.phase == Phase::HalfOpen && now >= before.until_ms;
                    if generation != before.generation && !timed_out {
                        prop_assert_eq!(before, after, "an old answer changed something");
                    }
                }
                Act::Cancel { which } if !held.is_empty() => drop(held.remove(which % held.len())),
                Act::Wait { millis } => now += millis,
                Act::Finish { .. } | Act::Cancel { .. } => {}
            }
            let state = breaker.word.load();
            let trials = held.iter().filter(|permit| permit.is_trial() && permit.generation == state.generation);
            if state.phase == Phase::HalfOpen {
                let out = u8::try_from(trials.count()).unwrap();
                prop_assert_eq!(out + state.permits + state.successes, 3);
            }
        }
        // Whatever happened, a dependency that is well again gets its traffic back.
        held.clear();
        for _ in 0..20 {
            now += 100_000;
            if let Admission::Admitted(permit) = breaker.admit(0, at(now), seed).admission {
                permit.record(Outcome::Success, MS, at(now), seed);
            }
            for _ in 0..2 {
                if let Admission::Admitted(permit) = breaker.admit(0, at(now), seed).admission {
                    permit.record(Outcome::Success, MS, at(now), seed);
                }
            }
        }
        prop_assert_eq!(breaker.view(at(now)).phase, Phase::Closed);
    }
}
