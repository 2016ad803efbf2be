//! What is too much for one message is refused by object, the parent's own and the oldest last.

use usher_config::{
    kind::{Kind, ObjectKey},
    model::{Route, RouteMatch},
};

use super::*;
use crate::compile::{precedence::Ranked, size::crowded_out};

/// `count` routes of one object.
fn routes(namespace: &str, name: &str, age: u64, count: usize) -> Vec<Ranked> {
    let object = ObjectKey {
        kind: Kind::HttpRoute,
        namespace: namespace.parse().expect("valid"),
        name: name.parse().expect("valid"),
    };
    let ranked = |number: usize| Ranked {
        route: Route {
            name: name.into(),
            callers: None,
            ports: Vec::new(),
            hostnames: Vec::new(),
            matches: RouteMatch {
                query: vec![(
                    "q".repeat(100),
                    usher_config::model::TextMatch::Exact(number.to_string()),
                )],
                ..RouteMatch::default()
            }
            .into(),
            filters: None,
            backends: [].into(),
            policy: Default::default(),
        },
        call: None,
        accepted_at: SystemTime::UNIX_EPOCH + Duration::from_secs(age),
        object: object.clone(),
        place: (0, number),
    };
    (0..count).map(ranked).collect()
}

#[test]
fn what_does_not_fit_is_said_of_the_object_that_came_last() {
    let all: Vec<Ranked> = [
        routes("shop", "foreign-old", 1, 20),
        routes("bank", "own-old", 2, 20),
        routes("bank", "own-new", 3, 20),
        routes("shop", "foreign-new", 4, 20),
        routes("shop", "foreign-small", 5, 1),
    ]
    .into_iter()
    .flatten()
    .collect();
    let names = |limit: usize| {
        let mut findings = Vec::new();
        let all = all.iter().map(|ranked| (ranked, [].as_slice()));
        let out = crowded_out(&named("bank/a"), all, limit, &mut findings);
        assert_eq!(out.len(), findings.len());
        assert!(
            findings
                .iter()
                .all(|finding| finding.reason == Reason::TooLarge)
        );
        out.into_iter()
            .map(|object| object.name.to_string())
            .collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(names(1 << 20), none);
    // Each but the small one takes some 3 KiB.
    assert_eq!(names(10_000), ["foreign-new"]);
    assert_eq!(names(7_000), ["foreign-new", "foreign-old"]);
    assert_eq!(names(100).len(), 5);
}
