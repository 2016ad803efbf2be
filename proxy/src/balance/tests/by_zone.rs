//! One's own zone first, then those listed, then all others; never nowhere while somebody is there.

use usher_config::model::Zones;

use super::*;

const OWN: &str = "a";

/// Each: its zone, and whether it is well.
type Endpoints<'a> = &'a [(&'a str, bool)];

fn zoned(endpoints: Endpoints<'_>, algorithm: Algorithm) -> Fleet {
    let balancer = LoadBalancer {
        algorithm,
        zones: Some(Zones {
            failover: vec!["b".into(), "c".into()],
            min_ready: Percent::clamped(50),
        }),
        ..LoadBalancer::default()
    };
    let fleet = fleet(&vec![1; endpoints.len()], algorithm);
    let mut members = fleet.group.members().to_vec();
    for (member, (zone, healthy)) in members.iter_mut().zip(endpoints) {
        member.rank = zones::rank(balancer.zones.as_ref(), OWN, zone);
        member.healthy = *healthy;
    }
    let rules = Rules {
        balancer: &balancer,
        per_endpoint: None,
        ejects: true,
    };
    let group = Group::new(members, rules);
    Fleet { group, ..fleet }
}

#[test]
fn zones_are_asked_in_order() {
    let zones = Zones {
        failover: vec!["b".into(), "c".into()],
        min_ready: Percent::clamped(50),
    };
    let rank = |own, zone| zones::rank(Some(&zones), own, zone);
    assert_eq!(
        ["a", "b", "c", "d", ""].map(|zone| rank("a", zone)),
        [0, 1, 2, 3, 3]
    );
    assert_eq!(
        ["a", "b", "c", ""].map(|zone| rank("b", zone)),
        [3, 0, 2, 3]
    );
    assert_eq!(["a", "b", ""].map(|zone| rank("", zone)), [3, 1, 3]);
    assert_eq!(zones::rank(None, "a", "z"), 0);
}

#[test]
fn the_first_zone_that_can_answer_gets_everything() {
    let (up, down) = (true, false);
    let cases: [(Endpoints<'_>, &[usize]); 6] = [
        (&[("a", up), ("a", up), ("b", up), ("z", up)], &[0, 1]),
        (&[("a", down), ("b", up), ("c", up)], &[1]),
        (&[("z", up), ("c", up)], &[1]),
        (&[("z", up), ("y", up)], &[0, 1]),
        // Too little is left of one's own zone, and as little of the next one.
        (
            &[("a", up), ("a", down), ("a", down), ("b", up), ("b", up)],
            &[3, 4],
        ),
        (
            &[
                ("a", up),
                ("a", down),
                ("a", down),
                ("b", up),
                ("b", down),
                ("b", down),
            ],
            &[0],
        ),
    ];
    for algorithm in ALGORITHMS {
        for (endpoints, expected) in cases {
            let fleet = zoned(endpoints, algorithm);
            let shares = shares(&fleet, 400);
            let used: Vec<usize> = (0..endpoints.len()).filter(|n| shares[*n] > 0).collect();
            assert_eq!(used, expected, "{algorithm:?} {endpoints:?}");
        }
    }
}

#[test]
fn a_zone_whose_endpoints_are_ejected_is_left_until_one_may_be_probed() {
    let fleet = zoned(
        &[("a", true), ("b", true), ("b", true), ("c", true)],
        Algorithm::PeakEwma,
    );
    let Some(Change::Ejected { lasts }) = eject(&fleet, 0, 0, &settings()) else {
        panic!("stayed in")
    };
    let due = u64::try_from(lasts.as_millis()).unwrap();
    let pick = |now| choose(&fleet.group, at(now), 1, &[]).unwrap();
    assert!([1, 2].contains(&pick(due - 1).position));
    let probe = pick(due);
    assert!(probe.position == 0 && probe.attempt.is_probe());
}

#[test]
fn a_retry_leaves_its_zone_rather_than_try_the_same_endpoint_again() {
    let fleet = zoned(&[("a", true), ("b", true)], Algorithm::LeastRequest);
    assert_eq!(choose(&fleet.group, at(1), 1, &[0]).unwrap().position, 1);
    assert_eq!(choose(&fleet.group, at(1), 1, &[0, 1]).unwrap().position, 0);
}

proptest! {
    #[test]
    fn whoever_is_well_is_found_wherever_it_is(
        endpoints in prop::collection::vec((prop::sample::select(vec!["a", "b", "c", "d"]), any::<bool>()), 1..8),
        chance in any::<u64>(),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
    ) {
        let fleet = zoned(&endpoints, algorithm);
        match choose(&fleet.group, at(1), chance, &[]) {
            Ok(pick) => prop_assert!(endpoints[pick.position].1),
            Err(refusal) => {
                prop_assert_eq!(refusal, NoPick::NoEndpoint);
                prop_assert!(endpoints.iter().all(|(_, healthy)| !healthy));
            }
        }
    }
}

#[test]
fn ejected_endpoints_of_a_zone_that_is_not_in_use_are_probed_now_and_then() {
    for algorithm in ALGORITHMS {
        let fleet = zoned(&[("a", true), ("a", true), ("b", true)], algorithm);
        let Some(Change::Ejected { lasts }) = eject(&fleet, 2, 0, &settings()) else {
            panic!("stayed in")
        };
        let due = Tick::ZERO + lasts;
        let mut probes = 0;
        for chance in 0..1_000 {
            let mut pick = choose(&fleet.group, due, random::split(chance).0, &[]).unwrap();
            let afar = pick.position == 2;
            assert!(!afar || pick.attempt.is_probe());
            probes += u32::from(afar);
            pick.attempt
                .record(&success(due.as_millis()), Some(&settings()));
        }
        assert_eq!(probes, 1, "{algorithm:?}");
        assert_eq!(fleet.roster.ejected(), 0);
    }
}
