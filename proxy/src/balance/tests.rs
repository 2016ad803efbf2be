//! Balancing is fair, spares the ejected and never refuses on opinion alone.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use usher_config::{
    model::{Algorithm, Ejection, SuccessRate},
    value::Percent,
};

use super::*;
use crate::{clock::Tick, random};

const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::PeakEwma,
    Algorithm::LeastRequest,
    Algorithm::RoundRobin,
];

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

/// A service's endpoints, one per weight; those that weigh 0 are there but take nothing.
struct Fleet {
    roster: Arc<Roster>,
    group: Group,
}

fn fleet(weights: &[u32], algorithm: Algorithm) -> Fleet {
    limited_fleet(weights, algorithm, None)
}

fn limited_fleet(weights: &[u32], algorithm: Algorithm, per_endpoint: Option<u32>) -> Fleet {
    let roster = Arc::new(Roster::new());
    roster.resize(u32::try_from(weights.len()).unwrap());
    let member = |weight: &u32| Member {
        state: Arc::new(EndpointState::new(Arc::clone(&roster), Tick::ZERO)),
        weight: *weight,
        healthy: true,
    };
    let members = weights.iter().map(member).collect();
    Fleet {
        roster,
        group: Group::new(members, algorithm, per_endpoint),
    }
}

fn settings() -> Ejection {
    Ejection::default()
}

fn everybody() -> Ejection {
    Ejection {
        max_percent: Percent::ALL,
        min_ready: 0,
        ..settings()
    }
}

fn failure(now: u64) -> Observation {
    let outcome = AttemptOutcome::Failure { retry_after: None };
    Observation {
        outcome,
        response_time: Duration::from_millis(1),
        now: at(now),
        random: 7,
    }
}

fn success(now: u64) -> Observation {
    Observation {
        outcome: AttemptOutcome::Success,
        ..failure(now)
    }
}

/// Fails one member until it is out, or until it is clear that it may stay.
fn eject(fleet: &Fleet, position: usize, now: u64, settings: &Ejection) -> Option<Change> {
    let state = &fleet.group.members()[position].state;
    (0..20).find_map(|_| state.learn(&failure(now), false, Some(settings)))
}

fn shares(fleet: &Fleet, requests: u32) -> Vec<u32> {
    let mut counts = vec![0; fleet.group.members().len()];
    for request in 0..requests {
        let random = random::split(u64::from(request)).0;
        counts[choose(&fleet.group, at(1), random, &[]).unwrap().position] += 1;
    }
    counts
}

#[test]
fn equal_endpoints_get_equal_shares() {
    for algorithm in ALGORITHMS {
        for (position, count) in shares(&fleet(&[1; 5], algorithm), 10_000)
            .into_iter()
            .enumerate()
        {
            assert!(
                (1_700..2_300).contains(&count),
                "{algorithm:?} {position}: {count}"
            );
        }
    }
}

#[test]
fn weights_are_shares_and_zero_is_none() {
    for algorithm in ALGORITHMS {
        let counts = shares(&fleet(&[1, 3, 0, 6], algorithm), 10_000);
        for (count, share) in counts.iter().zip([1_000, 3_000, 0, 6_000]) {
            assert!(
                u32::abs_diff(*count, share) <= 300,
                "{algorithm:?}: {counts:?}"
            );
        }
        assert_eq!(counts[2], 0);
    }
}

#[test]
fn the_less_loaded_of_two_is_chosen() {
    for algorithm in [Algorithm::PeakEwma, Algorithm::LeastRequest] {
        let fleet = fleet(&[1, 1], algorithm);
        let picks: Vec<Pick> = (0..10)
            .map(|random| choose(&fleet.group, at(1), random << 60, &[]).unwrap())
            .collect();
        let first = picks.iter().filter(|pick| pick.position == 0).count();
        assert_eq!(first, 5, "{algorithm:?}");
    }
}

#[test]
fn a_failing_endpoint_loses_traffic_before_it_is_ejected() {
    let fleet = fleet(&[1, 1], Algorithm::PeakEwma);
    fleet.group.members()[0]
        .state
        .learn(&failure(1), false, None);
    assert_eq!(shares(&fleet, 100)[0], 0);
}

#[test]
fn overload_costs_traffic_and_never_ejects() {
    let fleet = fleet(&[1, 1], Algorithm::PeakEwma);
    let outcome = AttemptOutcome::Overloaded { retry_after: None };
    for _ in 0..20 {
        let state = &fleet.group.members()[0].state;
        assert_eq!(
            state.learn(
                &Observation {
                    outcome,
                    ..failure(1)
                },
                false,
                Some(&settings())
            ),
            None
        );
    }
    assert_eq!(shares(&fleet, 100)[0], 0);
}

#[test]
fn a_retry_goes_elsewhere_if_there_is_an_elsewhere() {
    for algorithm in ALGORITHMS {
        let pair = fleet(&[1, 1], algorithm);
        let single = fleet(&[1], algorithm);
        for random in (0..64).map(|n| random::split(n).0) {
            assert_eq!(
                choose(&pair.group, at(1), random, &[0]).unwrap().position,
                1
            );
            assert_eq!(
                choose(&single.group, at(1), random, &[0]).unwrap().position,
                0
            );
        }
    }
}

#[test]
fn unhealthy_endpoints_get_nothing_and_none_left_is_said() {
    let fleet = fleet(&[1, 1], Algorithm::PeakEwma);
    let mut members = fleet.group.members().to_vec();
    members[0].healthy = false;
    let group = Group::new(members.clone(), Algorithm::PeakEwma, None);
    assert_eq!(choose(&group, at(1), 1, &[]).unwrap().position, 1);
    members[1].healthy = false;
    let group = Group::new(members, Algorithm::PeakEwma, None);
    assert_eq!(
        choose(&group, at(1), 1, &[]).unwrap_err(),
        NoPick::NoEndpoint
    );
}

#[test]
fn endpoints_at_their_limit_are_passed_over() {
    for algorithm in ALGORITHMS {
        let fleet = limited_fleet(&[1, 1], algorithm, Some(1));
        let one = choose(&fleet.group, at(1), 1, &[]).unwrap();
        let other = choose(&fleet.group, at(1), 1, &[]).unwrap();
        assert_ne!(one.position, other.position);
        assert_eq!(
            choose(&fleet.group, at(1), 1, &[]).unwrap_err(),
            NoPick::AllFull
        );
        drop(one);
        assert!(choose(&fleet.group, at(1), 1, &[]).is_ok());
    }
}

#[test]
fn five_failures_in_a_row_eject_and_a_success_between_saves() {
    let fleet = fleet(&[1; 4], Algorithm::PeakEwma);
    let state = &fleet.group.members()[0].state;
    for _ in 0..4 {
        assert_eq!(state.learn(&failure(1), false, Some(&settings())), None);
    }
    state.learn(&success(1), false, Some(&settings()));
    for _ in 0..4 {
        assert_eq!(state.learn(&failure(1), false, Some(&settings())), None);
    }
    assert!(matches!(
        state.learn(&failure(1), false, Some(&settings())),
        Some(Change::Ejected { .. })
    ));
    assert_eq!(shares(&fleet, 200)[0], 0);
}

#[test]
fn a_bad_success_rate_ejects_without_a_row() {
    let rate = SuccessRate {
        threshold: Percent::clamped(80),
        window: Duration::from_secs(10),
        min_attempts: 5,
    };
    let settings = Ejection {
        success_rate: Some(rate),
        ..settings()
    };
    let fleet = fleet(&[1; 4], Algorithm::PeakEwma);
    let state = &fleet.group.members()[0].state;
    let changes: Vec<_> = [true, false, true, true, false]
        .map(|good| {
            state.learn(
                &if good { success(1) } else { failure(1) },
                false,
                Some(&settings),
            )
        })
        .into_iter()
        .flatten()
        .collect();
    assert!(matches!(changes[..], [Change::Ejected { .. }]));
}

#[test]
fn an_ejected_endpoint_returns_through_one_probe() {
    for algorithm in ALGORITHMS {
        let fleet = fleet(&[1, 1], algorithm);
        let Some(Change::Ejected { lasts }) = eject(&fleet, 0, 0, &settings()) else {
            panic!("stayed in")
        };
        let due = u64::try_from(lasts.as_millis()).unwrap();
        assert_eq!(
            choose(&fleet.group, at(due - 1), 1, &[]).unwrap().position,
            1
        );
        let mut probe = (0..9)
            .map(|n| choose(&fleet.group, at(due), n << 61, &[]).unwrap())
            .find(|pick| pick.position == 0)
            .unwrap();
        assert!(probe.attempt.is_probe());
        // While it is under way nobody else goes there.
        assert!((0..9).all(|n| {
            choose(&fleet.group, at(due), n << 61, &[])
                .unwrap()
                .position
                == 1
        }));
        assert_eq!(
            probe.attempt.record(&success(due), Some(&settings())),
            Some(Change::Returned)
        );
        assert_eq!(fleet.roster.ejected(), 0);
    }
}

#[test]
fn a_failed_probe_ejects_for_longer_and_a_cancelled_one_is_tried_again() {
    let fleet = fleet(&[1, 1], Algorithm::RoundRobin);
    let Some(Change::Ejected { lasts }) = eject(&fleet, 0, 0, &settings()) else {
        panic!("stayed in")
    };
    let due = u64::try_from(lasts.as_millis()).unwrap();
    let probe = |now| {
        (0..4)
            .map(|_| choose(&fleet.group, at(now), 1, &[]).unwrap())
            .find(|pick| pick.attempt.is_probe())
    };
    drop(probe(due).unwrap());
    let mut again = probe(due).unwrap();
    let Some(Change::Ejected { lasts: longer }) =
        again.attempt.record(&failure(due), Some(&settings()))
    else {
        panic!("a failed probe ejects")
    };
    assert!(longer > lasts + lasts / 2);
    assert_eq!(fleet.roster.ejected(), 1);
}

#[test]
fn a_probe_that_hangs_makes_way_for_another() {
    let fleet = fleet(&[1, 1], Algorithm::RoundRobin);
    eject(&fleet, 0, 0, &settings());
    let probe = |now| {
        (0..4)
            .map(|_| choose(&fleet.group, at(now), 1, &[]).unwrap())
            .find(|pick| pick.attempt.is_probe())
    };
    let hanging = probe(8_000).unwrap();
    assert!(probe(17_999).is_none());
    assert!(probe(18_000).is_some());
    drop(hanging);
}

#[test]
fn half_of_the_endpoints_and_at_least_one_stay() {
    for (count, out) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let fleet = fleet(&vec![1; count], Algorithm::PeakEwma);
        let ejected = (0..count)
            .filter_map(|position| eject(&fleet, position, 0, &settings()))
            .count();
        assert_eq!(ejected, out, "of {count}");
    }
}

#[test]
fn if_all_are_ejected_all_are_used() {
    for algorithm in ALGORITHMS {
        let fleet = fleet(&[1, 1], algorithm);
        assert!((0..2).all(|position| eject(&fleet, position, 0, &everybody()).is_some()));
        let pick = choose(&fleet.group, at(1), 1, &[]).unwrap();
        assert!(pick.panic && !pick.attempt.is_probe());
    }
}

#[test]
fn an_endpoint_that_leaves_while_ejected_frees_its_place() {
    let fleet = fleet(&[1, 1], Algorithm::PeakEwma);
    eject(&fleet, 0, 0, &settings());
    assert_eq!(fleet.roster.ejected(), 1);
    drop(fleet.group);
    assert_eq!(fleet.roster.ejected(), 0);
}

#[test]
fn without_an_ejection_policy_old_ejections_are_ignored() {
    let fleet = fleet(&[1, 1], Algorithm::RoundRobin);
    eject(&fleet, 0, 0, &settings());
    let group =
        Group::new(fleet.group.members().to_vec(), Algorithm::RoundRobin, None).without_ejection();
    let picks: Vec<usize> = (0..4)
        .map(|_| choose(&group, at(1), 1, &[]).unwrap().position)
        .collect();
    assert_eq!(picks, [0, 1, 0, 1]);
}

#[test]
fn what_is_in_flight_is_counted_until_it_is_over() {
    let fleet = fleet(&[1], Algorithm::PeakEwma);
    let mut pick = choose(&fleet.group, at(1), 1, &[]).unwrap();
    let state = Arc::clone(&fleet.group.members()[0].state);
    pick.attempt.record(&success(5), None);
    assert_eq!(state.view(at(5)).in_flight, 1);
    drop(pick);
    assert_eq!(state.view(at(5)).in_flight, 0);
}

#[derive(Debug, Clone)]
enum Act {
    Choose { random: u64 },
    Finish { which: usize, good: bool },
    Drop { which: usize },
    Wait { millis: u64 },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any::<u64>().prop_map(|random| Act::Choose { random }),
        4 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, good)| Act::Finish { which, good }),
        1 => any::<usize>().prop_map(|which| Act::Drop { which }),
        1 => (0..6000u64).prop_map(|millis| Act::Wait { millis }),
    ]
}

proptest! {
    #[test]
    fn never_more_are_out_than_allowed(
        acts in prop::collection::vec(any_act(), 1..300),
        count in 1..8usize,
        percent in 0..=100u8,
        min_ready in 0..3u32,
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
    ) {
        let settings = Ejection {
            consecutive_failures: 2,
            max_percent: Percent::clamped(percent),
            min_ready,
            ..settings()
        };
        let fleet = fleet(&vec![1; count], algorithm);
        let (mut now, mut held) = (0, Vec::new());
        for act in acts {
            match act {
                Act::Choose { random } => held.push(choose(&fleet.group, at(now), random, &[]).unwrap()),
                Act::Finish { which, good } if !held.is_empty() => {
                    let mut pick = held.swap_remove(which % held.len());
                    let seen = if good { success(now) } else { failure(now) };
                    pick.attempt.record(&seen, Some(&settings));
                }
                Act::Drop { which } if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Act::Wait { millis } => now += millis,
                Act::Finish { .. } | Act::Drop { .. } => {}
            }
            let out = fleet.group.members().iter().filter(|member| member.state.view(at(now)).ejected).count();
            prop_assert!(out * 100 <= count * usize::from(percent));
            prop_assert!(out == 0 || count - out >= min_ready as usize);
            prop_assert_eq!(fleet.roster.ejected() as usize, out);
        }
        held.clear();
        prop_assert!(fleet.group.members().iter().all(|member| member.state.in_flight() == 0));
    }

    /// Any run of turns gives each endpoint its share, up to a few turns.
    #[test]
    fn rounds_are_fair_at_any_length(weights in prop::collection::vec(1..20u32, 1..8), turns in 1..2000u32) {
        let total: u32 = weights.iter().sum();
        let counts = shares(&fleet(&weights, Algorithm::RoundRobin), turns);
        for (count, weight) in counts.iter().zip(&weights) {
            let share = f64::from(turns) * f64::from(*weight) / f64::from(total);
            prop_assert!((f64::from(*count) - share).abs() <= 8.0, "{:?} of {:?}", counts, weights);
        }
    }
}
