//! What no request reaches is named, with who is in its way; and nothing else is.

mod agreement;

use super::*;

/// A route of a Service with rules `matches`, one for each.
fn of_service(name: &str, matches: &[&str]) -> String {
    with_parent(name, "group: '', kind: Service, name: a", "", matches)
}

/// A route of the Gateway `edge`.
fn of_gateway(name: &str, hosts: &str, matches: &[&str]) -> String {
    let hosts = format!("  hostnames: [{hosts}]\n");
    with_parent(name, "name: edge", &hosts, matches)
}

fn with_parent(name: &str, parent: &str, hosts: &str, matches: &[&str]) -> String {
    let rule =
        |one: &&str| format!("  - matches: [{one}]\n    backendRefs: [{{name: a, port: 8080}}]\n");
    let rules: String = matches.iter().map(rule).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  \
         parentRefs: [{{{parent}}}]\n{hosts}  rules:\n{rules}"
    )
}

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec: {gatewayClassName: usher, listeners: [{name: web, port: 80, protocol: HTTP}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: edge, namespace: bank, labels: {app: edge}}
spec: {serviceAccount: edge}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: a, namespace: bank, labels: {app: a}}
spec: {serviceAccount: a}
";

/// What is said, without what it is about (`object: message`).
fn said(texts: &[&str]) -> Vec<String> {
    let findings = compile(&world(texts)).findings.into_iter();
    let line = |one: Finding| format!("{} {}: {}", one.reason.as_str(), one.object, one.message);
    findings.map(line).collect()
}

#[track_caller]
fn assert_said(texts: &[&str], expected: &[&str]) {
    let said = said(texts);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (line, expected) in said.iter().zip(expected) {
        assert!(line.contains(expected), "{expected} is not in {line}");
    }
}

const X: &str = "{path: {value: /x}}";

#[test]
fn the_second_of_two_equal_rules_is_named_with_the_first() {
    let route = of_service("r", &[X, "{path: {value: /x/}}", "{path: {value: /y}}"]);
    assert_said(
        &[&service("a"), &route],
        &[
            "Shadowed HTTPRoute bank/r: no request reaches its rule 1: its rule 0 has the same match, `path /x/…`, and \
           stands before it (at Service bank/a); delete it",
        ],
    );
}

#[test]
fn of_two_equal_routes_the_younger_is_named_with_the_older() {
    let (older, younger) = (of_service("z-older", &[X]), of_service("younger", &[X]));
    assert_said(
        &[&service("a"), &older, &younger],
        &[
            "Shadowed HTTPRoute bank/younger: no request reaches it: rule 0 of HTTPRoute bank/z-older has the same match, \
           `path /x…`, and is older (at Service bank/a)",
        ],
    );
    let together = format!("{older}---\n{younger}");
    assert_said(
        &[&service("a"), &together],
        &[
            "HTTPRoute bank/z-older: no request reaches it: rule 0 of HTTPRoute bank/younger has the same match, `path /x…`, \
           and is as old and the first by name",
        ],
    );
}

const PATIENCE: &str = "
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: patience, namespace: bank}
spec: {targetRefs: [{kind: HTTPRoute, name: g2}], timeouts: {request: 7s}}
";

#[test]
fn a_policy_for_a_route_that_gets_nothing_is_named_with_who_gets_it() {
    let first = of_gateway("g1", "a.example", &["{}"]);
    let second = of_gateway("g2", "a.example", &["{}"]);
    assert_said(
        &[&service("a"), EDGE, &first, &second, PATIENCE],
        &[
            "Shadowed HTTPRoute bank/g2: no request reaches it: rule 0 of HTTPRoute bank/g1 has the same match, `path /…`, \
             and is older (at listener web of Gateway bank/edge for a.example)",
            "Unreachable TrafficPolicy bank/patience: no request reaches HTTPRoute bank/g2: all of them are taken by rule 0 of \
             HTTPRoute bank/g1",
        ],
    );
}

#[test]
fn a_route_that_loses_one_of_its_hosts_keeps_its_policies() {
    let first = of_gateway("g1", "a.example", &["{}"]);
    let second = of_gateway("g2", "a.example, b.example", &["{}"]);
    assert_said(
        &[&service("a"), EDGE, &first, &second, PATIENCE],
        &[
            "HTTPRoute bank/g2: its rule 0 does not get all that it matches: rule 0 of HTTPRoute bank/g1",
        ],
    );
}

#[test]
fn what_only_some_of_the_requests_of_another_are_is_not_shadowed() {
    let wide = of_gateway("wide", "'*.example'", &["{}"]);
    let own = of_gateway("own", "a.example", &["{}"]);
    let rules = of_service(
        "r",
        &[
            "{}",
            X,
            "{path: {value: /x}, method: GET}",
            "{path: {value: /x}, headers: [{name: a, value: b}]}",
            "{path: {type: Exact, value: /x}}",
            "{path: {type: RegularExpression, value: '/x[.]b'}}",
        ],
    );
    assert_said(&[&service("a"), EDGE, &wide, &own, &rules], &[]);
}

#[test]
fn an_expression_for_everything_is_asked_before_every_prefix() {
    let all = "{path: {type: RegularExpression, value: '/.*'}}";
    assert_said(
        &[&service("a"), &of_service("r", &[X, all])],
        &[
            "no request reaches its rule 0: its rule 1 takes all of `path /x…` with `path like /.*`, which is asked first",
        ],
    );
}

#[test]
fn ports_and_callers_have_lists_of_their_own() {
    let one_port = of_service("older", &[X]).replace("name: a}]", "name: a, port: 8080}]");
    let all_ports = of_service("younger", &[X]);
    assert_said(
        &[&service("a"), &one_port, &all_ports],
        &[
            "HTTPRoute bank/younger: its rule 0 does not get all that it matches: rule 0 of HTTPRoute bank/older has the same \
           match, `path /x…`, and is older (at port 8080 of Service bank/a)",
        ],
    );
    let other_port = of_service("old", &[X]).replace("name: a}]", "name: a, port: 50051}]");
    assert_said(
        &[&service("a"), &one_port, &other_port, &all_ports],
        &["HTTPRoute bank/younger: no request reaches it: rule 0 of HTTPRoute bank/older"],
    );
    let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: bank}\n\
                 spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: '', kind: Service}]}\n";
    let theirs = all_ports
        .replace("namespace: bank", "namespace: shop")
        .replace("name: a}]", "name: a, namespace: bank}]")
        .replace("{name: a, port", "{name: a, namespace: bank, port");
    assert_said(&[&service("a"), grant, &one_port, &theirs], &[]);
}

fn policy(kind: &str, target: &str, more: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: p, namespace: bank}}\n\
         spec: {{targetRefs: [{{{target}}}], {more}}}\n"
    )
}

#[test]
fn a_policy_for_one_rule_counts_what_that_rule_gets_where_the_policy_holds() {
    let first = of_gateway("g1", "a.example", &[X]);
    let named = of_gateway("g2", "a.example", &[X, "{path: {value: /y}}"])
        .replacen("- matches", "- name: dead\n    matches", 1)
        .replacen("- matches", "- name: live\n    matches", 1);
    let limits = "limits: [{name: each, requests: 5, per: 1s}]";
    let of_rule = |rule: &str| {
        let target = format!("kind: HTTPRoute, name: g2, sectionName: {rule}");
        policy("RateLimitPolicy", &target, limits)
    };
    let lost = "HTTPRoute bank/g2: no request reaches its rule dead: rule 0 of HTTPRoute bank/g1";
    assert_said(
        &[&service("a"), EDGE, &first, &named, &of_rule("live")],
        &[lost],
    );
    let unreachable = "Unreachable RateLimitPolicy bank/p: no request reaches rule dead of HTTPRoute bank/g2: all of them are \
                       taken by rule 0 of HTTPRoute bank/g1";
    assert_said(
        &[&service("a"), EDGE, &first, &named, &of_rule("dead")],
        &[lost, unreachable],
    );
    // Callers of the Service come to that rule, but a limit of a route is a gateway's matter.
    let shared = named.replace(
        "parentRefs: [",
        "parentRefs: [{group: '', kind: Service, name: a}, ",
    );
    let partly = "HTTPRoute bank/g2: its rule dead does not get all that it matches";
    assert_said(
        &[&service("a"), EDGE, &first, &shared, &of_rule("dead")],
        &[partly, unreachable],
    );
}

#[test]
fn a_policy_for_a_route_that_hangs_on_nothing_holds_for_nobody() {
    let lost = of_service("r", &[X]).replace("name: a}]", "name: gone}]");
    let fault = policy(
        "FaultPolicy",
        "kind: HTTPRoute, name: r",
        "expireAfter: 1h, abort: {percent: 1, status: 503}",
    );
    assert_said(
        &[&service("a"), &lost, &fault],
        &[
            "TargetNotFound HTTPRoute bank/r",
            "Unreachable FaultPolicy bank/p: no request reaches HTTPRoute bank/r: it is attached to no Service and no Gateway",
        ],
    );
}

#[test]
fn a_guard_of_a_service_as_which_nobody_answers_guards_nothing() {
    let guard = policy(
        "AccessPolicy",
        "kind: Service, name: b",
        "rules: [{from: {serviceAccounts: [edge]}}]",
    );
    assert_said(
        &[&service("a"), &service("b"), EDGE, &guard],
        &[
            "Unreachable AccessPolicy bank/p: no request reaches Service bank/b: there is no Workload behind it",
        ],
    );
    // Who names no Workload checks a part of a configuration.
    assert_said(&[&service("b"), &guard], &[]);
}
