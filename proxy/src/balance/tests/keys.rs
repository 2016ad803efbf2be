//! The same key, the same endpoint: whatever carries it, and as long as the endpoint is there.

use http::{HeaderMap, HeaderName};
use usher_config::model::HashKey;

use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, http::HeaderValue::from_static(value))
    });
    pairs.collect()
}

fn every_key() -> Vec<HashKey> {
    vec![
        HashKey::Header(HeaderName::from_static("x-user")),
        HashKey::Cookie("session".into()),
        HashKey::Query("user".into()),
    ]
}

#[test]
fn the_first_key_that_a_request_has_counts() {
    let alice = Some(affinity::hash(b"alice"));
    let key = |pairs: &[_], query| affinity::key(&every_key(), &headers(pairs), query, 7);
    let bob = ("cookie", "a=b; session=bob");
    assert_eq!(key(&[("x-user", "alice"), bob], "user=carol"), alice);
    assert_eq!(
        key(&[("cookie", "x=y; session=alice;z=1")], "user=carol"),
        alice
    );
    assert_eq!(key(&[], "a=b&user=alice&user=bob"), alice);
    assert_eq!(
        key(
            &[("cookie", "sessions=alice; asession=alice")],
            "users=alice"
        ),
        None
    );
    let mut keys = every_key();
    keys.push(HashKey::Source);
    assert_eq!(affinity::key(&keys, &HeaderMap::new(), "", 7), Some(7));
    assert_eq!(affinity::key(&[], &HeaderMap::new(), "", 7), None);
}

#[test]
fn a_key_keeps_its_endpoint_and_goes_elsewhere_only_while_that_is_out() {
    let fleet = fleet(&[1; 8], Algorithm::RingHash);
    let where_to = |key: &[u8], now| choose(&fleet.group, at(now), affinity::hash(key), &[]);
    let first = where_to(b"alice", 1).unwrap().position;
    assert!((0..100).all(|_| where_to(b"alice", 1).unwrap().position == first));
    let Some(Change::Ejected { lasts }) = eject(&fleet, first, 1, &settings()) else {
        panic!("stayed in")
    };
    let other = where_to(b"alice", 2).unwrap().position;
    assert_ne!(other, first);
    assert_eq!(where_to(b"alice", 2).unwrap().position, other);
    let due = 2 + u64::try_from(lasts.as_millis()).unwrap();
    let mut probe = where_to(b"alice", due).unwrap();
    assert!(probe.position == first && probe.attempt.is_probe());
    probe.attempt.record(&success(due), Some(&settings()));
    assert_eq!(where_to(b"alice", due).unwrap().position, first);
}

proptest! {
    #[test]
    fn a_retry_leaves_the_ring_in_the_same_order_for_everybody(key in any::<u64>()) {
        let (one, other) = (fleet(&[1; 6], Algorithm::RingHash), fleet(&[1; 6], Algorithm::RingHash));
        let mut tried = Vec::new();
        for _ in 0..6 {
            let pick = choose(&one.group, at(1), key, &tried).unwrap().position;
            prop_assert_eq!(choose(&other.group, at(1), key, &tried).unwrap().position, pick);
            prop_assert!(!tried.contains(&pick));
            tried.push(pick);
        }
    }
}
