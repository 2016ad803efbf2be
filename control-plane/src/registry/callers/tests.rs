//! Who is listed, for how long, and how many.

use proptest::prelude::*;

use super::*;

fn service(name: &str) -> ServiceName {
    format!("bank/{name}").parse().expect("valid")
}

fn caller(last_octet: u8, first: u64, last: u64) -> Caller {
    Caller {
        address: [10, 0, 0, last_octet].into(),
        port: 80,
        first,
        last,
        refused: None,
        let_in: Some(last),
    }
}

fn any_caller() -> impl Strategy<Value = Caller> {
    let times = (
        900_000..1_000_000_u64,
        900_000..1_000_000_u64,
        prop::option::of(900_000..1_000_000_u64),
        prop::option::of(900_000..1_000_000_u64),
    );
    (0..4_u8, times).prop_map(|(address, (one, other, refused, let_in))| Caller {
        refused,
        let_in,
        ..caller(address, one.min(other), one.max(other))
    })
}

const NOW: u64 = 1_000_000;

fn listed(told: &[Vec<Caller>]) -> Vec<Caller> {
    let mut callers = Callers::default();
    for told in told {
        callers.hear(&service("account"), told, moment(NOW));
    }
    callers.of(&service("account"), moment(NOW))
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_matters(
        told in prop::collection::vec(prop::collection::vec(any_caller(), 0..6), 0..6)
    ) {
        let once = listed(&told);
        let backwards: Vec<_> = told.iter().rev().cloned().collect();
        prop_assert_eq!(&listed(&backwards), &once);
        let twice: Vec<_> = told.iter().chain(&told).cloned().collect();
        prop_assert_eq!(&listed(&twice), &once);
        let at_once: Vec<Caller> = told.concat();
        prop_assert_eq!(&listed(&[at_once]), &once);
        let sorted = once.is_sorted_by(|a, b| a.last >= b.last);
        prop_assert!(sorted, "who was seen last comes first");
    }

    #[test]
    fn nobody_is_listed_for_longer_than_a_day_or_forgotten_before(
        callers in prop::collection::vec(any_caller(), 1..20), later in 0..200_000_u64
    ) {
        let mut table = Callers::default();
        table.hear(&service("account"), &callers, moment(NOW));
        let now = NOW + later;
        let expected: BTreeSet<_> = callers
            .iter()
            .filter(|one| now < one.last + FORGOTTEN_AFTER.as_secs())
            .map(|one| one.address)
            .collect();
        let found = |table: &Callers| -> BTreeSet<_> {
            table.of(&service("account"), moment(now)).iter().map(|one| one.address).collect()
        };
        prop_assert_eq!(&found(&table), &expected);
        table.forget(moment(now));
        prop_assert_eq!(&found(&table), &expected);
        prop_assert_eq!(table.count, expected.len());
        prop_assert_eq!(table.services().count(), usize::from(!expected.is_empty()));
    }
}

#[test]
fn a_service_keeps_those_seen_last_and_no_more_than_it_may() {
    let mut callers = Callers::default();
    for number in 0..1_500_u32 {
        let one = Caller {
            address: std::net::Ipv4Addr::from(number).into(),
            ..caller(0, 0, 950_000 + u64::from(number))
        };
        callers.hear(&service("account"), &[one], moment(NOW));
    }
    let kept = callers.of(&service("account"), moment(NOW));
    assert_eq!(
        (kept.len(), callers.count),
        (PER_SERVICE_MAX, PER_SERVICE_MAX)
    );
    assert!(kept.iter().all(|one| one.last >= 950_500));
}

#[test]
fn no_service_crowds_out_another() {
    let mut callers = Callers::default();
    callers.hear(&service("quiet"), &[caller(1, 1, 940_000)], moment(NOW));
    let many = |offset: u32| -> Vec<Caller> {
        let numbers = offset..offset + 1_000;
        let one = |number| Caller {
            address: std::net::Ipv4Addr::from(number).into(),
            ..caller(0, 0, 950_000)
        };
        numbers.map(one).collect()
    };
    for number in 0..51 {
        callers.hear(&service(&format!("s{number}")), &many(0), moment(NOW));
    }
    assert_eq!(callers.count, ALL_MAX);
    assert_eq!(callers.of(&service("quiet"), moment(NOW)).len(), 1);
}

#[test]
fn a_clock_that_is_ahead_lists_nobody_for_longer() {
    let mut callers = Callers::default();
    callers.hear(&service("account"), &[caller(1, 5, NOW * 2)], moment(NOW));
    assert_eq!(callers.of(&service("account"), moment(NOW))[0].last, NOW);
}

#[test]
fn ages_become_times_and_old_ones_are_left_out() {
    let told = |last_seen| usher_config::model::PlaintextCaller {
        address: "::ffff:10.0.0.1".parse().expect("valid"),
        port: None,
        first_seen: Duration::from_secs(100_000),
        last_seen: Duration::from_secs(last_seen),
        refused: Some(Duration::from_secs(8)),
        let_in: Some(Duration::from_secs(7)),
    };
    let told = PlaintextCallers(vec![told(7), told(86_400)]);
    let expected = Caller {
        port: 0,
        refused: Some(NOW - 8),
        ..caller(1, NOW - 100_000, NOW - 7)
    };
    assert_eq!(*heard(&told, moment(NOW)), [expected]);
}

#[test]
fn only_who_was_let_in_last_is_locked_out_by_strict() {
    let now = moment(NOW);
    let of = |let_in, refused, port| Caller {
        let_in,
        refused,
        port,
        ..caller(1, 990_000, 999_000)
    };
    let cases = [
        (of(Some(999_000), None, 80), true),
        (of(Some(999_000), Some(998_000), 80), true),
        (of(Some(998_000), Some(999_000), 80), false),
        (of(None, Some(999_000), 80), false),
        (of(Some(999_000), None, 0), false),
        // From an older sidecar.
        (of(None, None, 80), true),
    ];
    for (one, expected) in cases {
        let mut callers = Callers::default();
        callers.hear(&service("account"), &[one], now);
        assert_eq!(one.is_let_in(), expected, "{one:?}");
        assert_eq!(callers.letting_in(now).len(), usize::from(expected));
        assert_eq!(callers.counts(now).count(), 1, "it is listed all the same");
        let later = moment(NOW + 100_000);
        assert_eq!(callers.letting_in(later).len(), 0);
        assert_eq!(callers.counts(later).count(), 0);
    }
}
