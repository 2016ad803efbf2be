//! Ejection, seen from where endpoints are chosen.

use usher_config::model::SuccessRate;

use super::*;

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
    let fleet = fleet(&[1; 4], Algorithm::PeakEwma);
    let state = &fleet.group.members()[0].state;
    let changes: Vec<_> = [true, false, true, true, false]
        .map(|good| {
            state.learn(
                &if good { success(1) } else { failure(1) },
                false,
                Some(&by_rate()),
            )
        })
        .into_iter()
        .flatten()
        .collect();
    assert!(matches!(changes[..], [Change::Ejected { .. }]));
}

fn by_rate() -> Ejection {
    let rate = SuccessRate {
        threshold: Percent::clamped(80),
        window: Duration::from_secs(10),
        min_attempts: 5,
    };
    Ejection {
        success_rate: Some(rate),
        ..settings()
    }
}

#[test]
fn a_success_that_completes_the_minimum_ejects_too() {
    let fleet = fleet(&[1; 4], Algorithm::PeakEwma);
    let state = &fleet.group.members()[0].state;
    for _ in 0..4 {
        assert_eq!(state.learn(&failure(1), false, Some(&by_rate())), None);
    }
    assert!(matches!(
        state.learn(&success(1), false, Some(&by_rate())),
        Some(Change::Ejected { .. })
    ));
}

#[test]
fn a_returned_endpoint_does_not_pay_twice_for_what_it_was_out_for() {
    let fleet = fleet(&[1; 4], Algorithm::PeakEwma);
    let state = &fleet.group.members()[0].state;
    let Some(Change::Ejected { lasts }) = eject(&fleet, 0, 0, &by_rate()) else {
        panic!("stayed in")
    };
    let due = u64::try_from(lasts.as_millis()).unwrap();
    assert!(due < 9_000, "its failures are still in the window");
    assert!(state.claim_probe(at(due)));
    assert_eq!(
        state.learn(&success(due), true, Some(&by_rate())),
        Some(Change::Returned)
    );
    for _ in 0..3 {
        assert_eq!(state.learn(&failure(due), false, Some(&by_rate())), None);
    }
    assert!(matches!(
        state.learn(&failure(due), false, Some(&by_rate())),
        Some(Change::Ejected { .. })
    ));
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
    let rules = Rules {
        balancer: &LoadBalancer {
            algorithm: Algorithm::RoundRobin,
            ..LoadBalancer::default()
        },
        per_endpoint: None,
        ejects: false,
    };
    let group = Group::new(fleet.group.members().to_vec(), rules);
    let picks: Vec<usize> = (0..4)
        .map(|_| choose(&group, at(1), 1, &[]).unwrap().position)
        .collect();
    assert_eq!(picks, [0, 1, 0, 1]);
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
}
