//! What is too much for one message is refused by object, the parent's own and the oldest last.

use usher_config::{
    kind::{Kind, ObjectKey},
    model::{Route, RouteMatch},
};

use super::*;
use crate::compile::{
    gateways::within,
    precedence::Ranked,
    size::{ROUTES_BYTES_MAX, crowded_out, of_requests},
};

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
        let out = crowded_out(&named("bank/a"), of_requests(all), limit, &mut findings);
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

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec:
  gatewayClassName: usher
  listeners:
  - {name: web, port: 80, protocol: HTTP}
  - {name: vault, port: 8443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: sql, port: 5432, protocol: TCP}
";

/// With one backend.
fn attached(kind: &str, name: &str, hostnames: &str) -> String {
    let version = if kind == "TCPRoute" { "v1alpha2" } else { "v1" };
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: bank}}\n\
         spec: {{parentRefs: [{{name: edge}}], {hostnames} rules: [{{backendRefs: [{{name: a, port: 8080}}]}}]}}\n"
    )
}

#[test]
fn all_kinds_of_routes_count_to_what_a_gateway_may_have() {
    let texts = [
        service("a"),
        EDGE.to_owned(),
        attached("TLSRoute", "first", "hostnames: [one.test, two.test],"),
        attached("HTTPRoute", "second", ""),
        attached("TCPRoute", "third", ""),
        attached("TLSRoute", "fourth", "hostnames: [three.test],"),
    ];
    let world = world(&texts.each_ref().map(String::as_str));
    let left = |limit: usize| {
        let mut findings = Vec::new();
        let index = Index::new(&world, &mut findings);
        let targets = Targets::new(&index, &mut findings);
        findings.clear();
        let gateways = within(limit, (&index, &targets), &mut findings);
        let too_large = findings.iter();
        let too_large = too_large.filter(|finding| finding.reason == Reason::TooLarge);
        let too_large = too_large.map(|finding| finding.object.name.to_string());
        let listeners = &gateways[&named("bank/edge")].listeners;
        let followed = listeners
            .iter()
            .map(|listener| listener.routes.len() + listener.streams.len());
        (too_large.collect::<Vec<_>>(), followed.collect::<Vec<_>>())
    };
    let (too_large, followed) = left(ROUTES_BYTES_MAX);
    assert_eq!((too_large.len(), followed), (0, vec![1, 3, 1]));
    let (too_large, followed) = left(0);
    assert_eq!(too_large, ["first", "second", "third", "fourth"]);
    assert_eq!(followed, [0, 0, 0]);
    // By age, whatever their kind.
    let limits: Vec<usize> = (0..4_096).collect();
    let all = limits.partition_point(|limit| !left(*limit).0.is_empty());
    assert_eq!(left(all - 1).0, ["fourth"]);
}
