//! A limit lets through what it says in every window, for each key, whoever asks and however many at once.

use std::{
    net::IpAddr,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use usher_config::model::{LimitKey, LimitWhen};

use super::*;

fn limit(requests: u32, per_ms: u64, burst: u32, key: Vec<LimitKey>) -> RateLimit {
    RateLimit {
        name: "l".into(),
        requests,
        per: Duration::from_millis(per_ms),
        burst,
        key,
        keys_max: 16,
        when: LimitWhen::default(),
    }
}

fn limiter(requests: u32, per_ms: u64, burst: u32) -> Limiter {
    Limiter::new(
        &limit(requests, per_ms, burst, Vec::new()),
        Hashing::default(),
    )
}

fn keyed(requests: u32, per_ms: u64, burst: u32) -> Limiter {
    Limiter::new(
        &limit(requests, per_ms, burst, vec![LimitKey::Path]),
        Hashing::default(),
    )
}

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

#[test]
fn a_burst_and_then_the_rate() {
    let limiter = limiter(10, 1_000, 5);
    let passed = |now| {
        (0..100)
            .take_while(|_| limiter.take(0, at(now)).is_ok())
            .count()
    };
    assert_eq!(passed(0), 5);
    assert_eq!(passed(99), 0);
    assert_eq!(passed(100), 1);
    assert_eq!(passed(400), 3);
    assert_eq!(passed(10_000), 5, "no more than the burst is saved up");
}

#[test]
fn who_is_refused_learns_how_long() {
    let limiter = limiter(10, 1_000, 2);
    for _ in 0..2 {
        limiter.take(0, at(0)).expect("within");
    }
    let beyond = limiter.take(0, at(30)).expect_err("beyond");
    assert_eq!(beyond.wait, Duration::from_millis(70));
    assert_eq!(beyond.whole, Duration::from_millis(170));
    limiter.take(0, at(30) + beyond.wait).expect("as promised");
}

#[test]
fn what_is_given_back_is_there_again() {
    let limiter = keyed(1, 1_000, 1);
    limiter.take(7, at(0)).expect("within");
    limiter.give_back(7);
    limiter.give_back(8);
    limiter.take(7, at(0)).expect("within again");
    limiter.take(7, at(0)).expect_err("once");
}

#[test]
fn keys_are_counted_apart() {
    let limiter = keyed(1, 1_000, 1);
    limiter.take(1 << 64 | 1, at(0)).expect("one");
    limiter
        .take(1 << 64 | 2, at(0))
        .expect("another in its set");
    limiter.take(1 << 64 | 1, at(0)).expect_err("known");
}

#[test]
fn a_full_table_forgets_what_is_nearest_to_its_burst() {
    let limiter = keyed(1, 1_000, 10);
    for key in 0..16 {
        for _ in 0..=(key % 8) {
            limiter.take(key, at(0)).expect("within");
        }
    }
    limiter.take(99, at(0)).expect("new");
    let Buckets::Keyed(table) = &limiter.buckets else {
        panic!("keyed")
    };
    assert_eq!(table.len(), 16);
    let left = |key| {
        (0..20)
            .take_while(|_| limiter.take(key, at(0)).is_ok())
            .count()
    };
    assert_eq!(left(7), 2, "the busiest is still known");
    assert_eq!(left(15), 2);
}

#[test]
fn buckets_that_are_full_again_make_room_first() {
    let limiter = keyed(1, 1_000, 1);
    for key in 0..15 {
        limiter.take(key, at(0)).expect("within");
    }
    limiter.take(15, at(900)).expect("within");
    limiter
        .take(16, at(1_000))
        .expect("in place of the fifteen");
    let Buckets::Keyed(table) = &limiter.buckets else {
        panic!("keyed")
    };
    assert_eq!(table.len(), 2);
    limiter.take(15, at(1_000)).expect_err("still remembered");
}

#[test]
fn workers_that_meet_a_new_key_at_once_share_its_burst() {
    for round in 0..200 {
        let limiter = keyed(1, 1_000_000, 3);
        let (passed, start) = (AtomicU32::new(0), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..5 {
                        if limiter.take(round, at(0)).is_ok() {
                            passed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.load(Ordering::SeqCst), 3);
    }
}

fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked {
        identity: None,
        headers,
        path: "/a",
        route: "",
        source: None,
        claims: None,
    }
}

#[test]
fn a_header_that_is_there_twice_is_none_however_it_is_spelled() {
    let parts = [LimitKey::Header(HeaderName::from_static("x-api-key"))];
    let hashing = Hashing::default();
    let of = |fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        key::number(&parts, &asked(&headers), &hashing)
    };
    let none = of(&[]);
    assert_ne!(of(&[("x-api-key", "a")]), none);
    for fields in [
        [("x-api-key", "a"), ("x-api-key", "b")],
        [("x-api-key", "a"), ("x_api_key", "a")],
        [("x_api-key", "a"), ("x-other", "a")],
    ] {
        assert_eq!(of(&fields), none, "{fields:?}");
    }
}

#[test]
fn parts_of_a_key_do_not_run_together() {
    let (one, two) = (
        HeaderName::from_static("x-one"),
        HeaderName::from_static("x-two"),
    );
    let parts = [LimitKey::Header(one.clone()), LimitKey::Header(two.clone())];
    let hashing = Hashing::default();
    let of = |first: Option<&'static str>, second: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        for (name, value) in [(&one, first), (&two, second)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        key::number(&parts, &asked(&headers), &hashing)
    };
    let all = [
        of(Some("a"), Some("bc")),
        of(Some("ab"), Some("c")),
        of(Some("abc"), Some("")),
        of(Some("abc"), None),
        of(None, Some("abc")),
        of(None, None),
    ];
    for (position, one) in all.iter().enumerate() {
        assert!(!all[position + 1..].contains(one));
    }
    assert_eq!(of(Some("a"), Some("bc")), all[0]);
}

#[test]
fn one_customers_ipv6_addresses_are_one_source() {
    let (headers, hashing) = (HeaderMap::new(), Hashing::default());
    let of = |ip: &str| {
        let source: IpAddr = ip.parse().expect("an address");
        let asked = Asked {
            source: Some(source),
            ..asked(&headers)
        };
        key::number(&[LimitKey::Source], &asked, &hashing)
    };
    assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
    assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
}

proptest! {
    #[test]
    fn no_window_has_more_than_its_burst_and_its_rate(
        waits in prop::collection::vec(0..200u64, 1..400),
        requests in 1..50u32,
        per in 1..2_000u64,
        burst in 1..20u32,
    ) {
        let limiter = keyed(requests, per, burst);
        let (mut now, mut passed) = (0, Vec::new());
        for wait in waits {
            now += wait;
            if limiter.take(1, at(now)).is_ok() {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let count = u64::try_from(last - first + 1).expect("few");
                let by_rate = (to - from) * u64::from(requests) / per;
                prop_assert!(count <= u64::from(burst) + by_rate, "{count} from {from} to {to}");
            }
        }
    }

    #[test]
    fn who_stays_below_the_rate_is_never_refused(
        jitters in prop::collection::vec(0..50u64, 1..400),
        requests in 1..50u32,
        per in 1..2_000u64,
        burst in 1..20u32,
    ) {
        let limiter = limiter(requests, per, burst);
        let apart = per.div_ceil(u64::from(requests));
        let mut now = 0;
        for jitter in jitters {
            now += apart + jitter;
            prop_assert!(limiter.take(0, at(now)).is_ok());
        }
    }

    #[test]
    fn a_refusal_takes_nothing(
        waits in prop::collection::vec(0..100u64, 1..200),
        tries in 1..5usize,
    ) {
        let (calm, greedy) = (limiter(5, 1_000, 3), limiter(5, 1_000, 3));
        let mut now = 0;
        for wait in waits {
            now += wait;
            let one = calm.take(0, at(now)).is_ok();
            prop_assert_eq!(one, greedy.take(0, at(now)).is_ok());
            if !one {
                for _ in 0..tries {
                    prop_assert!(greedy.take(0, at(now)).is_err());
                }
            }
        }
    }

    #[test]
    fn a_table_never_outgrows_its_bound(keys in prop::collection::vec(any::<u128>(), 1..300)) {
        let limit = RateLimit {
            keys_max: 40,
            ..limit(1, 1_000_000, 1, vec![LimitKey::Path])
        };
        let limiter = Limiter::new(&limit, Hashing::default());
        for key in keys {
            prop_assert!(limiter.take(key, at(0)).is_ok() || limiter.take(key, at(0)).is_err());
        }
        let Buckets::Keyed(table) = &limiter.buckets else { panic!("keyed") };
        prop_assert!(table.len() <= 48);
    }
}
