//! Each kind of mistake is found, at its place, with the words that help.

use super::*;
use crate::kind::{Object, TargetKind};

#[test]
fn three_broken_fields_are_three_mistakes() {
    let parsed = parse(
        "\
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: account, namespace: usher-system}
spec:
  targetRefs: [{kind: Mesh, name: mesh}]
  timeouts:
    request: 15 seconds
  retry:
    atempts: 2
    budget:
      percent: 120
",
    );
    let text: Vec<String> = parsed.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "mesh.yaml:7:14: TrafficPolicy usher-system/account: spec.timeouts.request: found `15 seconds`, allowed: a \
             duration such as 10s, 1m30s or 250ms: 1-4 parts, each 1-5 digits and h, m, s or ms",
            "mesh.yaml:9:5: TrafficPolicy usher-system/account: spec.retry.atempts: found unknown field `atempts`, allowed: \
             attempts, backoff, codes, grpcStatuses, idempotentMethods, idempotencyHeader, replayBufferBytes, \
             allowNested, budget, minRetryRate; did you mean `attempts`?",
            "mesh.yaml:11:16: TrafficPolicy usher-system/account: spec.retry.budget.percent: found `120`, allowed: a whole \
             number from 0 to 100",
        ]
    );
    assert!(parsed.objects.is_empty());
    assert_eq!(
        parsed.rejected[0].key.to_string(),
        "TrafficPolicy usher-system/account"
    );
    assert_eq!(parsed.rejected[0].targets[0].kind, TargetKind::Mesh);
}

/// A policy's spec, and what is said about it (lines count from `spec:`).
const POLICIES: [(&str, &[&str]); 18] = [
    (
        "breaker: {openFor: 2m, maxOpenFor: 60s}",
        &["3: spec.breaker.openFor: `2m`"],
    ),
    (
        "breaker: {window: 500ms}",
        &["3: spec.breaker.window: `500ms`"],
    ),
    (
        "breaker: {mode: enforce}",
        &["3: spec.breaker.mode: `enforce`"],
    ),
    ("breaker: on", &["3: spec.breaker: `on`"]),
    ("breaker:", &[]),
    (
        "timeouts: {request: 1s, backendRequest: 2s}",
        &["3: spec.timeouts.backendRequest: `2s`"],
    ),
    ("timeouts: {request: 0s, backendRequest: 2s}", &[]),
    (
        "timeouts: {connect: 0s}",
        &["3: spec.timeouts.connect: `0s`"],
    ),
    (
        "timeouts: {connect: 5}",
        &["3: spec.timeouts.connect: the number `5`"],
    ),
    (
        "fallback: {repeatable: true}",
        &["3: spec.fallback: none of them"],
    ),
    (
        "fallback: {backendRef: {name: a, port: 1}, response: {}}",
        &["3: spec.fallback.response: both `backendRef` and `response`"],
    ),
    (
        "fallback: {when: [Opn], response: {status: 99}}",
        &[
            "3: spec.fallback.when[0]: `Opn`",
            "3: spec.fallback.response.status: `99`",
        ],
    ),
    (
        "fallback: {on: [Open], response: {}}",
        &["3: spec.fallback.on: `on`"],
    ),
    (
        "fallback: {true: [Open], response: {}}",
        &["3: spec.fallback.true: `true`"],
    ),
    (
        "fallback: {response: {headers: [{name: Content-Length, value: '3'}]}}",
        &["3: spec.fallback.response.headers[0].name: `content-length`"],
    ),
    (
        "retry: {codes: [200], grpcStatuses: [OK]}",
        &[
            "3: spec.retry.codes[0]: `200`",
            "3: spec.retry.grpcStatuses[0]: `OK`",
        ],
    ),
    (
        "retry: {idempotentMethods: [/bank.Account/Balance]}",
        &["3: spec.retry.idempotentMethods[0]: `/bank.Account/Balance`"],
    ),
    (
        "ejection: {successRate: {}}",
        &["3: spec.ejection.successRate.threshold: nothing"],
    ),
];

#[test]
fn a_policy_is_checked_field_by_field() {
    for (spec, expected) in POLICIES {
        let parsed = parse(&format!(
            "{{apiVersion: usher.dev/v1alpha1, kind: TrafficPolicy, metadata: {{name: a}}, spec: {{\n\
             targetRefs: [{{kind: Namespace, name: default}}],\n{spec}\n}}}}\n"
        ));
        let own: Vec<_> = said(&parsed)
            .into_iter()
            .filter(|text| !text.contains("no Service"))
            .collect();
        assert_eq!(own, expected, "{spec}");
    }
}

#[test]
fn the_field_that_yaml_1_1_takes_for_a_truth_value_is_answered_with_its_name() {
    for key in ["on", "true", "\"on\""] {
        let parsed = parse(&format!(
            "{{apiVersion: usher.dev/v1alpha1, kind: TrafficPolicy, metadata: {{name: a}}, spec: {{\n\
             targetRefs: [{{kind: Namespace, name: default}}], fallback: {{{key}: [Open], response: {{}}}}}}}}\n"
        ));
        let [mistake] = &parsed.mistakes[..] else {
            panic!("{key}: {:?}", said(&parsed))
        };
        assert!(mistake.allowed.starts_with("`when`"), "{mistake}");
    }
}

/// Rules of an HTTPRoute, and what is said about them.
const RULES: [(&str, &[&str]); 9] = [
    (
        "{filters: [{type: RequestMirror}]}",
        &["5: spec.rules[0].filters[0].requestMirror: nothing"],
    ),
    (
        "{matches: [{path: {value: a/b}}]}",
        &["5: spec.rules[0].matches[0].path.value: `a/b`"],
    ),
    (
        "{matches: [{path: {value: /a/../b}}]}",
        &["5: spec.rules[0].matches[0].path.value: `/a/../b`"],
    ),
    (
        "{matches: [{path: {type: Regex, value: /a}}]}",
        &["5: spec.rules[0].matches[0].path.type: `Regex`"],
    ),
    (
        "{matches: [{path: {type: RegularExpression, value: '('}}]}",
        &["5: spec.rules[0].matches[0].path.value: `(`"],
    ),
    (
        "{matches: [{headers: [{name: a, value: b}, {name: A, value: c}]}]}",
        &["5: spec.rules[0].matches[0].headers[1]: `a` for the second time"],
    ),
    (
        "{name: a}, {name: a}",
        &["5: spec.rules[1].name: `a` for the second time"],
    ),
    (
        "{backendRefs: [{name: account}]}",
        &["5: spec.rules[0].backendRefs[0].port: nothing"],
    ),
    (
        "{backendRefs: [{name: account, port: 70000}]}",
        &["5: spec.rules[0].backendRefs[0].port: `70000`"],
    ),
];

#[test]
fn a_route_is_checked_rule_by_rule() {
    for (rules, expected) in RULES {
        let route = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: a, namespace: bank}},\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: account}}],\n\n\n\
             rules: [{rules}]}}}}\n"
        );
        let files = [
            ("a.yaml".into(), route),
            ("b.yaml".into(), SERVICE.to_owned()),
        ];
        assert_eq!(said(&parse_files(&files)), expected, "{rules}");
    }
}

#[test]
fn a_misspelt_required_field_is_one_mistake() {
    let parsed = parse(
        "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {nam: a}\nspec: {serviceAcount: a}\n",
    );
    let nearest: Vec<_> = parsed
        .mistakes
        .iter()
        .filter_map(|m| m.nearest.as_deref())
        .collect();
    assert_eq!(
        (parsed.mistakes.len(), nearest),
        (2, vec!["name", "serviceAccount"])
    );
}

#[test]
fn a_route_has_at_most_128_matches() {
    let matches = vec!["{method: GET}"; 43].join(", ");
    let rules = vec![format!("{{matches: [{matches}]}}"); 3].join(", ");
    let parsed = parse(&format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: a}},
          spec: {{parentRefs: [{{group: '', kind: Service, name: a}}], rules: [{rules}]}}}}",
    ));
    let said = said(&parsed);
    assert!(
        said.contains(&"2: spec.rules: 129 matches".to_owned()),
        "{said:?}"
    );
}

#[test]
fn an_unsupported_field_is_not_called_unknown() {
    let parsed = parse(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: a},
          spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{sessionPersistence: {}}]}}",
    );
    let unsupported = |mistake: &Mistake| mistake.allowed.contains("does not support it yet");
    assert!(
        parsed.mistakes.iter().any(unsupported),
        "{:?}",
        said(&parsed)
    );
}

#[test]
fn an_empty_list_in_an_access_rule_does_not_mean_everybody() {
    let parsed = parse(
        "{apiVersion: usher.dev/v1alpha1, kind: AccessPolicy, metadata: {name: a},
          spec: {targetRefs: [{kind: Namespace, name: default}], rules: [{from: {serviceAccounts: []}}]}}",
    );
    assert_eq!(
        said(&parsed),
        ["2: spec.rules[0].from.serviceAccounts: a list of 0"]
    );
}

#[test]
fn a_service_account_without_a_namespace_is_of_the_policys_own() {
    let parsed = parse(
        "{apiVersion: usher.dev/v1alpha1, kind: AccessPolicy, metadata: {name: a, namespace: bank},
          spec: {targetRefs: [{kind: Namespace, name: bank}], rules: [{from: {serviceAccounts: [x, shop/y]}}]}}",
    );
    let Object::AccessPolicy(policy) = &parsed.objects[0].object else {
        panic!("{parsed:?}")
    };
    let accounts: Vec<_> = policy.spec.rules[0]
        .from
        .service_accounts
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(accounts, ["bank/x", "shop/y"]);
}

#[test]
fn a_mistake_is_shown_under_its_line() {
    let parsed = parse(
        "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: a}\nspec:\n  mtls: {mode: Strickt}\n",
    );
    let shown = parsed.render(&parsed.mistakes[0], Colours::Plain);
    let expected = "\
error: Mesh a: spec.mtls.mode: found `Strickt`
 --> mesh.yaml:5:16
  |
5 |   mtls: {mode: Strickt}
  |                ^^^^^^^
  |
  = help: allowed: Strict, Permissive
  = help: did you mean `Strict`?";
    assert_eq!(shown, expected);
}

#[test]
fn only_a_policy_in_the_meshs_namespace_speaks_for_the_mesh() {
    let policy = |namespace: &str| {
        parse(&format!(
            "{{apiVersion: usher.dev/v1alpha1, kind: AccessPolicy, metadata: {{name: a, namespace: {namespace}}},
              spec: {{targetRefs: [{{kind: Mesh, name: mesh}}]}}}}",
        ))
    };
    assert!(!policy("usher-system").has_errors());
    let foreign = policy("bank");
    assert_eq!(
        said(&foreign),
        ["2: spec.targetRefs[0].kind: `Mesh`, in a policy of the namespace `bank`"]
    );
    assert!(foreign.mistakes[0].allowed.contains("usher-system"));
}

/// Targets of a broken policy of the namespace `bank`, and what it was meant for.
const MEANT: [(&str, &[&str]); 8] = [
    ("targetRefs: [{kind: Service, name: a}]", &["Service a"]),
    ("targetRefs: [{kind: Servce, name: a}]", &["Namespace bank"]),
    (
        "targetRefs: [{kind: Service, name: a}, {kind: Service, name: 7}]",
        &["Service a", "Namespace bank"],
    ),
    ("targetRef: [{kind: Service, name: a}]", &["Namespace bank"]),
    ("targetRefs: Service/a", &["Namespace bank"]),
    (
        "targetRefs: [{kind: HTTPRoute, name: a}]",
        &["Namespace bank"],
    ),
    ("targetRefs: [{kind: Mesh, name: m}]", &["Namespace bank"]),
    (
        "targetRefs: [{kind: Namespace, name: shop}]",
        &["Namespace bank"],
    ),
];

#[test]
fn what_a_broken_policy_was_meant_for_never_shrinks_to_nothing_and_stays_at_home() {
    for (targets, expected) in MEANT {
        let parsed = parse(&format!(
            "{{apiVersion: usher.dev/v1alpha1, kind: AccessPolicy, metadata: {{name: a, namespace: bank}}, spec: {{\n\
             {targets}, defaultAction: Perhaps}}}}\n"
        ));
        let meant: Vec<String> = parsed.rejected[0]
            .targets
            .iter()
            .map(|target| format!("{} {}", target.kind, target.name))
            .collect();
        assert_eq!(meant, expected, "{targets}");
    }
    let bare = parse("{apiVersion: usher.dev/v1alpha1, kind: AccessPolicy, metadata: {name: a}}");
    assert_eq!(bare.rejected[0].targets[0].kind, TargetKind::Namespace);
}

/// Metadata of a policy that says no valid name, and the namespace that it is known to be of.
const NAMELESS: [(&str, Option<&str>); 8] = [
    ("{name: Account_Allow, namespace: bank}", Some("bank")),
    ("{name: 7, namespace: bank}", Some("bank")),
    ("{name: [a], namespace: bank}", Some("bank")),
    ("{name: , namespace: bank}", Some("bank")),
    ("{nam: a, namespace: bank}", Some("bank")),
    ("{}", Some("default")),
    ("", Some("default")),
    ("{name: Account_Allow, namespace: Bank}", None),
];

#[test]
fn a_policy_without_a_valid_name_still_says_what_it_was_meant_for() {
    for (metadata, namespace) in NAMELESS {
        let policy = format!(
            "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {metadata}\n\
             spec: {{targetRefs: [{{kind: Service, name: account}}]}}\n"
        );
        let parsed = parse(&format!("{SERVICE}---\n{policy}---\n{policy}"));
        assert!(parsed.has_errors(), "{metadata}");
        let Some(namespace) = namespace else {
            assert_eq!((parsed.rejected.len(), parsed.unreadable.len()), (0, 1));
            continue;
        };
        let [first, second] = &parsed.rejected[..] else {
            panic!("{metadata}: {:?}", parsed.rejected)
        };
        assert_ne!(first.key, second.key, "each document is one of its own");
        assert_eq!(first.key.namespace.as_str(), namespace, "{metadata}");
        assert!(!first.named);
        let [target] = &first.targets[..] else {
            panic!("{metadata}: {:?}", first.targets)
        };
        assert_eq!(
            (target.kind, target.name.as_str()),
            (TargetKind::Service, "account")
        );
        assert_eq!(parsed.mistakes[0].key.as_ref(), Some(&first.key));
        let title = parsed.mistakes[0]
            .object
            .as_deref()
            .expect("called something");
        assert!(!title.contains("unnamed"), "{title}");
    }
}
