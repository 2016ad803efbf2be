//! Waiting ends when it is done, and when more of it would not help.

use super::*;
use crate::status::{MistakeReport, NackReport, RejectedObject, RevisionStatus};

fn proxy(node: &str, up_to_date: bool) -> ProxyReport {
    ProxyReport {
        node: node.to_owned(),
        up_to_date,
        ..ProxyReport::default()
    }
}

fn status(number: u64, proxies: Vec<ProxyReport>) -> StatusReport {
    StatusReport {
        revision: RevisionStatus {
            number,
            ..RevisionStatus::default()
        },
        proxies,
        ..StatusReport::default()
    }
}

#[test]
fn it_is_done_when_all_run_it() {
    let all = status(4, vec![proxy("a", true), proxy("b", true)]);
    assert!(Seen::of(&all, Some(4)).is_done() && Seen::of(&all, None).is_done());
    let early = Seen::of(&all, Some(5));
    assert!(!early.is_done() && !early.is_hopeless());
    assert_eq!(early.line(), "revision 5 is not there yet, the newest is 4");
    let behind = Seen::of(&status(4, vec![proxy("a", true), proxy("b", false)]), None);
    assert!(!behind.is_done() && !behind.is_hopeless());
    assert_eq!(
        (behind.programmed, behind.of, behind.behind),
        (1, 2, vec!["b".to_owned()])
    );
}

#[test]
fn who_refuses_ends_it() {
    let mut nacked = status(4, vec![proxy("a", false)]);
    nacked.proxies[0].last_nack = Some(NackReport {
        message: "cannot".to_owned(),
        ..NackReport::default()
    });
    let mut rejected = status(4, Vec::new());
    rejected.rejected.push(RejectedObject {
        object: "Service x/y".to_owned(),
        mistakes: vec![MistakeReport {
            at: "a.yaml:1:2".to_owned(),
            message: "wrong".to_owned(),
            ..MistakeReport::default()
        }],
        ..RejectedObject::default()
    });
    let mut held = status(4, Vec::new());
    (held.pinned, held.waiting) = (Some(2), vec!["Service x/y".to_owned()]);
    let asked = Seen::of(&held, Some(4));
    assert!(asked.is_done() && asked.held.is_some(), "{asked:?}");
    for (status, said) in [
        (nacked, "a: cannot"),
        (rejected, "Service x/y: a.yaml:1:2: wrong"),
        (held, "revision 2 is held: 1 changed object waits"),
    ] {
        let seen = Seen::of(&status, None);
        assert!(!seen.is_done() && seen.is_hopeless());
        let why = seen.refused.first().or(seen.held.as_ref());
        assert!(why.is_some_and(|why| why.starts_with(said)), "{seen:?}");
        assert_eq!(
            seen.waiting().contains("something is refused"),
            seen.held.is_none() && seen.behind.is_empty(),
            "{}",
            seen.waiting()
        );
    }
}

#[test]
fn it_says_what_it_waits_for() {
    let behind = ["a", "b", "c", "d"].map(|name| proxy(name, false));
    let some = Seen::of(&status(4, behind.to_vec()), None);
    assert_eq!(
        some.waiting(),
        "waiting for a, b, c and 1 more: revision 4 runs in 0 of 4 sidecars"
    );
    let early = Seen::of(&status(4, Vec::new()), Some(5));
    assert_eq!(
        early.waiting(),
        "waiting for revision 5: revision 5 is not there yet, the newest is 4"
    );
    let done = Seen::of(&status(4, vec![proxy("a", true)]), None);
    assert!(done.waiting().contains("an edit was just saved"));
}
