//! When there is something to tell.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn seen(last_octet: u8, last: u64, refused: Option<u64>) -> Seen {
    let at = |seconds: u64| Tick::from_millis(seconds * 1_000);
    Seen {
        who: Who {
            address: [10, 0, 0, last_octet].into(),
            port: None,
        },
        first: at(0),
        last: at(last),
        refused: refused.map(at),
        let_in: refused.is_none().then(|| at(last)),
        connections: 1,
    }
}

fn at(seconds: u64) -> Tick {
    Tick::from_millis(seconds * 1_000)
}

#[test]
fn a_new_caller_and_a_first_refusal_are_news_and_calling_again_is_after_a_while() {
    let mut told = Told::default();
    assert!(told.is_old(&[]));
    let first = [seen(1, 100, None)];
    assert!(!told.is_old(&first));
    told.remember(&first, at(100));
    assert!(told.is_old(&first));
    assert!(told.is_old(&[seen(1, 399, None)]));
    assert!(!told.is_old(&[seen(1, 400, None)]), "five minutes later");
    assert!(!told.is_old(&[seen(1, 101, Some(101))]), "refused");
    assert!(!told.is_old(&[seen(2, 101, None), seen(1, 100, None)]));
    told.remember(&[seen(1, 101, Some(101))], at(101));
    assert!(told.is_old(&[seen(1, 102, Some(102))]));
    let again = Seen {
        let_in: Some(at(103)),
        ..seen(1, 103, Some(102))
    };
    assert!(!told.is_old(&[again]), "let in again");
}

#[test]
fn who_is_crowded_out_for_a_moment_is_no_news() {
    let mut told = Told::default();
    told.remember(&[seen(1, 100, None)], at(100));
    told.remember(&[seen(2, 101, None)], at(101));
    assert!(told.is_old(&[seen(1, 102, None), seen(2, 102, None)]));
}

#[test]
fn a_crowd_hides_nobody() {
    let mut told = Told::default();
    // All of them stay connected; the one who came later was here for a moment.
    let crowd = (0..120).map(|number| seen(number, 1_000, None));
    let all: Vec<Seen> = crowd.chain([seen(200, 900, None)]).collect();
    let mut heard = BTreeSet::new();
    for turn in 0..3 {
        let now = told.tellable(&all);
        assert!(
            now.len() <= PlaintextCallers::MAX && !told.is_old(&now),
            "{turn}"
        );
        heard.extend(now.iter().map(|one| one.who));
        told.remember(&now, at(1_000 + turn));
    }
    assert_eq!(heard.len(), all.len());
    assert!(told.is_old(&told.tellable(&all)));
}

proptest! {
    #[test]
    fn what_is_known_elsewhere_is_at_most_so_old(calls in prop::collection::vec((0..4_u8, 0..200_u64), 1..60)) {
        let (mut told, mut now) = (Told::default(), 0);
        let mut known: HashMap<u8, u64> = HashMap::new();
        let mut last: HashMap<u8, u64> = HashMap::new();
        for (caller, pause) in calls {
            now += pause;
            last.insert(caller, now);
            let list: Vec<Seen> = last.iter().map(|(who, last)| seen(*who, *last, None)).collect();
            if !told.is_old(&list) {
                told.remember(&list, at(now));
                known = last.clone();
            }
            for (who, last) in &last {
                let age = last - known.get(who).copied().unwrap_or(0);
                prop_assert!(known.contains_key(who) && age < AGAIN_AFTER.as_secs());
            }
        }
    }
}
