//! Balancing is fair, spares the ejected and never refuses on opinion alone.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use usher_config::{
    model::{Algorithm, Ejection, LoadBalancer},
    value::Percent,
};

use super::*;
use crate::{clock::Tick, random};

mod by_zone;
mod ejected;
mod keys;
mod slow_start;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::PeakEwma,
    Algorithm::RingHash,
    Algorithm::LeastRequest,
    Algorithm::RoundRobin,
];

/// Those whose shares follow the weights closely; a ring's do so roughly, and its own tests say how roughly.
const EVEN: [Algorithm; 3] = [
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
        rank: 0,
        key: 0,
    };
    let mut members: Vec<Member> = weights.iter().map(member).collect();
    for (number, member) in members.iter_mut().enumerate() {
        member.key = affinity::hash(format!("bank/account/{number}").as_bytes());
    }
    Fleet {
        roster,
        group: group(members, algorithm, per_endpoint),
    }
}

fn group(members: Vec<Member>, algorithm: Algorithm, per_endpoint: Option<u32>) -> Group {
    let balancer = LoadBalancer {
        algorithm,
        ..LoadBalancer::default()
    };
    let rules = Rules {
        balancer: &balancer,
        per_endpoint,
        ejects: true,
    };
    Group::new(members, rules)
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
    for algorithm in EVEN {
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
    for algorithm in EVEN {
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
    let choice = |members| group(members, Algorithm::PeakEwma, None);
    let some = choice(members.clone());
    assert_eq!(choose(&some, at(1), 1, &[]).unwrap().position, 1);
    members[1].healthy = false;
    let none = choice(members);
    assert_eq!(
        choose(&none, at(1), 1, &[]).unwrap_err(),
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
fn what_is_in_flight_is_counted_until_it_is_over() {
    let fleet = fleet(&[1], Algorithm::PeakEwma);
    let mut pick = choose(&fleet.group, at(1), 1, &[]).unwrap();
    let state = Arc::clone(&fleet.group.members()[0].state);
    pick.attempt.record(&success(5), None);
    assert_eq!(state.view(at(5)).in_flight, 1);
    drop(pick);
    assert_eq!(state.view(at(5)).in_flight, 0);
}

proptest! {
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

#[test]
fn who_dials_an_endpoint_gets_that_one_or_nobody() {
    let fleet = limited_fleet(&[1, 0, 1], Algorithm::PeakEwma, Some(1));
    let first = exactly(&fleet.group, 2).unwrap();
    assert_eq!(first.position, 2);
    assert_eq!(exactly(&fleet.group, 2).err(), Some(NoPick::AllFull));
    assert_eq!(exactly(&fleet.group, 1).err(), Some(NoPick::NoEndpoint));
    assert_eq!(exactly(&fleet.group, 3).err(), Some(NoPick::NoEndpoint));
    drop(first);
    assert!(exactly(&fleet.group, 2).is_ok());
}
