//! Of what is which object a part?

use std::collections::BTreeSet;

use usher_config::kind::ObjectKey;

use super::{
    super::reach::{Reach, reach},
    *,
};
use crate::registry::object_key;

fn reached(texts: &[&str]) -> BTreeMap<ObjectKey, Reach> {
    let world = world(texts);
    let compiled = compile(&world);
    reach(&world, &compiled)
}

fn names(set: &BTreeSet<ServiceName>) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_reach(
    all: &BTreeMap<ObjectKey, Reach>,
    object: &str,
    (services, inbound, gateways): (&[&str], &[&str], &[&str]),
) {
    let found = all.get(&object_key(object).expect("valid"));
    let found = found.cloned().unwrap_or_default();
    assert_eq!(names(&found.services), services, "services of {object}");
    assert_eq!(names(&found.inbound), inbound, "inbound of {object}");
    assert_eq!(names(&found.gateways), gateways, "gateways of {object}");
}

fn usher(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: bank}}\nspec: {spec}\n"
    )
}

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec:
  gatewayClassName: usher
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
";

fn route(name: &str, parent: &str, rest: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: bank}}\n\
         spec:\n  parentRefs: [{parent}]\n  rules: [{{name: all, backendRefs: [{rest}]}}]\n"
    )
}

#[test]
fn services_workloads_and_policies_reach_callers_or_the_service_itself() {
    let on = |kind: &str, rest: &str| format!("{{targetRefs: [{kind}]{rest}}}");
    let a = "{kind: Service, group: '', name: a}";
    let workload = "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {name: a1, namespace: bank, labels: {app: a}}\n\
                    spec: {serviceAccount: a}\n";
    let caller = "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {name: teller, namespace: bank}\n\
                  spec: {serviceAccount: teller}\n";
    let all = reached(&[
        &service("a"),
        &service("b"),
        workload,
        caller,
        "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {}\n",
        &usher(
            "TrafficPolicy",
            "patience",
            &on(a, ", timeouts: {request: 3s}"),
        ),
        &usher(
            "TrafficPolicy",
            "wide",
            &on(
                "{kind: Namespace, group: '', name: bank}",
                ", timeouts: {request: 9s}",
            ),
        ),
        // A second one on the same target holds nothing.
        &usher("TrafficPolicy", "late", &on(a, ", timeouts: {request: 4s}")),
        &usher("AccessPolicy", "door", &on(a, ", rules: []")),
        &usher(
            "RateLimitPolicy",
            "count",
            &on(a, ", limits: [{name: all, requests: 5, per: 1s}]"),
        ),
    ]);
    let (a, b) = ("bank/a", "bank/b");
    assert_reach(&all, "Service bank/a", (&[a], &[a], &[]));
    // Under its own name, too: it may only call.
    assert_reach(&all, "Workload bank/a1", (&[a], &[a, "bank/a1"], &[]));
    assert_reach(&all, "Workload bank/teller", (&[], &["bank/teller"], &[]));
    assert_reach(&all, "TrafficPolicy bank/patience", (&[a], &[], &[]));
    assert_reach(&all, "TrafficPolicy bank/wide", (&[a, b], &[], &[]));
    assert_reach(&all, "TrafficPolicy bank/late", (&[], &[], &[]));
    assert_reach(&all, "AccessPolicy bank/door", (&[], &[a], &[]));
    assert_reach(&all, "RateLimitPolicy bank/count", (&[], &[a], &[]));
    let mesh = all.iter().find(|(_, reach)| reach.everywhere);
    assert_eq!(mesh.expect("one").0.name.as_str(), "mesh");
}

#[test]
fn a_route_reaches_its_parents_with_its_policies_and_its_grants() {
    let ledger = service("ledger").replace("namespace: bank", "namespace: books");
    let grant = "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: lend, namespace: books}\n\
                 spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: bank}], to: [{group: '', kind: Service}]}\n";
    let target = "{targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: outside, sectionName: all}]";
    let all = reached(&[
        &service("a"),
        &ledger,
        grant,
        GATEWAY,
        &route(
            "inside",
            "{group: '', kind: Service, name: a}",
            "{name: a, port: 8080}",
        ),
        &route(
            "outside",
            "{name: edge}",
            "{name: ledger, namespace: books, port: 8080}",
        ),
        &usher(
            "TrafficPolicy",
            "patience",
            &format!("{target}, timeouts: {{request: 3s}}}}"),
        ),
        &usher(
            "RateLimitPolicy",
            "count",
            &format!("{target}, limits: [{{name: all, requests: 5, per: 1s}}]}}"),
        ),
    ]);
    let edge = "bank/edge";
    assert_reach(&all, "Gateway bank/edge", (&[], &[], &[edge]));
    assert_reach(&all, "HTTPRoute bank/inside", (&["bank/a"], &[], &[]));
    assert_reach(&all, "HTTPRoute bank/outside", (&[], &[], &[edge]));
    assert_reach(&all, "TrafficPolicy bank/patience", (&[], &[], &[edge]));
    assert_reach(&all, "RateLimitPolicy bank/count", (&[], &[], &[edge]));
    assert_reach(&all, "ReferenceGrant books/lend", (&[], &[], &[edge]));
}
