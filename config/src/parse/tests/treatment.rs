//! Load balancing, limits per endpoint and faults: each mistake is found, at its place.

use super::*;

fn complaints(kind: &str, spec: &str) -> Vec<String> {
    let parsed = parse(&format!(
        "{SERVICE}{{apiVersion: usher.dev/v1alpha1, kind: {kind}, metadata: {{name: a, namespace: bank}}, spec: {{\n\
         targetRefs: [{{kind: Service, name: account}}],\n{spec}\n}}}}\n"
    ));
    let field = |text: String| text.split_once(": ").map(|(_, rest)| rest.to_owned());
    said(&parsed).into_iter().filter_map(field).collect()
}

#[test]
fn a_load_balancer_is_checked_field_by_field() {
    let cases: [(&str, &[&str]); 12] = [
        ("{algorithm: RingHash}", &[]),
        ("{hash: [{cookie: session}]}", &[]),
        (
            "{algorithm: RingHash, hash: [{header: x-user}, {query: user}, {source: {}}]}",
            &[],
        ),
        (
            "{algorithm: RingHash, hash: []}",
            &["spec.loadBalancer.hash: "],
        ),
        (
            "{algorithm: PeakEwma, hash: [{header: a}]}",
            &["spec.loadBalancer.hash: `hash`"],
        ),
        (
            "{hash: [{header: a}, {header: a}]}",
            &["spec.loadBalancer.hash[1]: "],
        ),
        (
            "{hash: [{header: a b}]}",
            &["spec.loadBalancer.hash[0].header: `a b`"],
        ),
        (
            "{hash: [{header: a, cookie: b}]}",
            &["spec.loadBalancer.hash[0].cookie: both"],
        ),
        (
            "{hash: [{source: {a: b}}]}",
            &["spec.loadBalancer.hash[0].source.a: unknown field"],
        ),
        (
            "{algorithm: RingHash, slowStart: {}}",
            &["spec.loadBalancer.slowStart: `slowStart`"],
        ),
        (
            "{slowStart: {minPercent: 0}}",
            &["spec.loadBalancer.slowStart.minPercent: `0`"],
        ),
        (
            "{zones: {failover: [b, c, b]}}",
            &["spec.loadBalancer.zones.failover[2]: "],
        ),
    ];
    for (spec, expected) in cases {
        let found = complaints("TrafficPolicy", &format!("loadBalancer: {spec}"));
        let as_expected = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(found, start)| found.starts_with(start));
        assert!(as_expected, "{spec}: {found:?}");
    }
}

#[test]
fn nobody_can_be_forbidden_to_wait_for_the_first_connection() {
    let found = complaints(
        "TrafficPolicy",
        "limits: {maxPendingRequests: 0, perEndpoint: {maxConnections: 0, maxPendingRequests: 1}}",
    );
    assert_eq!(
        found,
        [
            "spec.limits.maxPendingRequests: `0`",
            "spec.limits.perEndpoint.maxConnections: `0`"
        ]
    );
}

#[test]
fn a_fault_always_ends_and_always_does_something() {
    let cases: [(&str, &[&str]); 9] = [
        ("expireAfter: 10m, delay: {percent: 10, duration: 2s}", &[]),
        (
            "expireAfter: 1s, abort: {percent: 100, grpcStatus: UNAVAILABLE}",
            &[],
        ),
        (
            "delay: {percent: 10, duration: 2s}",
            &["spec.expireAfter: nothing"],
        ),
        (
            "expireAfter: 25h, abort: {percent: 1, status: 500}",
            &["spec.expireAfter: `25h`"],
        ),
        (
            "expireAfter: 0s, abort: {percent: 1, status: 500}",
            &["spec.expireAfter: `0s`"],
        ),
        ("expireAfter: 10m", &["spec: neither"]),
        (
            "expireAfter: 10m, abort: {percent: 0, status: 500}",
            &["spec.abort.percent: `0`"],
        ),
        (
            "expireAfter: 10m, abort: {percent: 1, status: 200}",
            &["spec.abort.status: `200`"],
        ),
        (
            "expireAfter: 10m, delay: {percent: 1, duration: 6m}",
            &["spec.delay.duration: `6m`"],
        ),
    ];
    for (spec, expected) in cases {
        let found = complaints("FaultPolicy", spec);
        let as_expected = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(found, start)| found.starts_with(start));
        assert!(as_expected, "{spec}: {found:?}");
    }
}

#[test]
fn a_fault_for_a_whole_mesh_is_refused() {
    let parsed = parse(
        "{apiVersion: usher.dev/v1alpha1, kind: FaultPolicy, metadata: {name: a, namespace: usher-system}, spec: {\n\
         targetRefs: [{kind: Mesh, name: mesh}], expireAfter: 1m, abort: {percent: 1, status: 500}}}\n",
    );
    assert!(parsed.objects.is_empty(), "{:?}", said(&parsed));
}
