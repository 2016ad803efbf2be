//! A new endpoint gets ever more, from a little to its whole share, whatever the algorithm.

use usher_config::model::SlowStart;

use super::*;

fn slowly(weights: &[u32], algorithm: Algorithm) -> Fleet {
    let fleet = fleet(weights, algorithm);
    let balancer = LoadBalancer {
        algorithm,
        slow_start: Some(SlowStart {
            window: Duration::from_secs(10),
            min_percent: Percent::clamped(10),
        }),
        ..LoadBalancer::default()
    };
    let rules = Rules {
        balancer: &balancer,
        per_endpoint: None,
        ejects: true,
    };
    let group = Group::new(fleet.group.members().to_vec(), rules);
    Fleet { group, ..fleet }
}

/// How many of 10,000 requests the first endpoint gets.
fn share(fleet: &Fleet, now: u64) -> usize {
    let chances = (0..10_000u64).map(|request| random::split(request).0);
    let picks = chances.map(|chance| choose(&fleet.group, at(now), chance, &[]).unwrap());
    picks.filter(|pick| pick.position == 0).count()
}

#[test]
fn a_new_endpoint_begins_with_little_and_ends_with_its_share() {
    for algorithm in EVEN {
        let fleet = slowly(&[1; 5], algorithm);
        fleet.group.members()[0].state.begin(at(1_000));
        let shares = [1_000, 3_000, 6_000, 9_000, 11_000].map(|now| share(&fleet, now));
        assert!(shares.is_sorted(), "{algorithm:?}: {shares:?}");
        assert!((50..700).contains(&shares[0]), "{algorithm:?}: {shares:?}");
        assert!(
            (1_800..2_200).contains(&shares[4]),
            "{algorithm:?}: {shares:?}"
        );
    }
}

#[test]
fn where_all_are_new_all_are_alike() {
    for algorithm in EVEN {
        let fleet = slowly(&[1; 5], algorithm);
        for member in fleet.group.members() {
            member.state.begin(at(1_000));
        }
        let share = share(&fleet, 1_500);
        assert!((1_600..2_400).contains(&share), "{algorithm:?}: {share}");
    }
}

#[test]
fn an_endpoint_back_from_ejection_begins_again() {
    let fleet = slowly(&[1; 5], Algorithm::LeastRequest);
    let Some(Change::Ejected { lasts }) = eject(&fleet, 0, 0, &settings()) else {
        panic!("stayed in")
    };
    let due = u64::try_from(lasts.as_millis()).unwrap();
    let state = &fleet.group.members()[0].state;
    assert!(state.claim_probe(at(due)));
    state.learn(&success(due), true, Some(&settings()));
    assert!((50..700).contains(&share(&fleet, due)));
    assert!((1_800..2_200).contains(&share(&fleet, due + 10_000)));
}

proptest! {
    #[test]
    fn somebody_always_answers(
        began in prop::collection::vec(prop::option::of(1..20_000u64), 1..6),
        chance in any::<u64>(),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
    ) {
        let fleet = slowly(&vec![1; began.len()], algorithm);
        for (member, began) in fleet.group.members().iter().zip(began) {
            began.into_iter().for_each(|began| member.state.begin(at(began)));
        }
        prop_assert!(choose(&fleet.group, at(20_000), chance, &[]).is_ok());
    }
}
