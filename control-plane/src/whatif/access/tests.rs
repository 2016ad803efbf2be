//! What is told about access names what decides.

use usher_config::{decide::access::HttpAccess, parse::parse_files, value::SpiffeId};

use super::*;
use crate::{compile::compile, registry::World};

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: bank}
spec: {ports: [{port: 8080}]}
---
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {name: readers, namespace: bank}
spec:
  targetRefs: [{kind: Service, name: ledger}]
  rules:
  - from: {serviceAccounts: [teller]}
    to: {methods: [GET]}
  - from: {serviceAccounts: [auditor]}
    to: {paths: [/v1/*]}
---
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {name: trial, namespace: bank}
spec:
  targetRefs: [{kind: Namespace, name: bank}]
  dryRun: true
  defaultAction: Deny
";

const GUARDS: &str = "---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: {name: tokens, namespace: bank}
spec:
  targetRefs: [{kind: Service, name: ledger}]
  jwt:
  - issuer: https://login.example
    audiences: [bank]
    jwks: {uri: https://login.example/keys}
---
apiVersion: usher.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: slow, namespace: bank}
spec:
  targetRefs: [{kind: Service, name: ledger}]
  limits:
  - {name: all, requests: 5, per: 1s}
  - {name: exports, requests: 1, per: 1h, when: {methods: [POST], paths: [/v1/exports]}}
";

#[test]
fn tokens_and_limits_are_told_as_what_else_has_to_hold() {
    let told = of(&[MESH, GUARDS].concat(), Some("teller"), "GET", "/");
    assert!(told.allowed, "{told:?}");
    let [token, limit] = told.provided.as_slice() else {
        panic!("{told:?}");
    };
    assert!(
        token.contains(
            "token of https://login.example (AuthenticationPolicy bank/tokens), else 401"
        )
    );
    assert_eq!(
        limit,
        "at most 5 in 1s (RateLimitPolicy bank/slow, limit all), else 429, flag RL"
    );
}

fn told(caller: Option<&str>, method: &str, path: &str) -> Permission {
    of(MESH, caller, method, path)
}

fn of(mesh: &str, caller: Option<&str>, method: &str, path: &str) -> Permission {
    let parsed = parse_files(&[("mesh.yaml".into(), mesh.to_owned())]);
    assert!(!parsed.has_errors(), "{:?}", parsed.mistakes);
    let now = std::time::SystemTime::UNIX_EPOCH;
    let world = World::default()
        .read(&parsed, std::path::Path::new(""), now)
        .world;
    let compiled = compile(&world);
    let caller = caller.map(|name| format!("spiffe://usher.local/ns/bank/sa/{name}"));
    let caller: Option<SpiffeId> = caller.map(|text| text.parse().expect("valid"));
    let method = method.parse().expect("valid");
    let asked = Access {
        caller: caller.as_ref(),
        port: "8080".parse().expect("valid"),
        http: Some(HttpAccess {
            method: &method,
            path,
            claims: None,
        }),
    };
    let workload = &compiled.inbound[&"bank/ledger".parse().expect("valid")];
    permission(workload, &asked, &Places::new(&parsed))
}

#[test]
fn an_allowed_request_names_the_rule() {
    let told = told(Some("auditor"), "POST", "/v1/x");
    assert!(told.allowed, "{told:?}");
    let said = "AccessPolicy bank/readers (mesh.yaml:15) allows by spec.rules[1]";
    assert_eq!(told.because, said);
}

#[test]
fn a_refused_one_says_what_each_rule_lacks() {
    let told = told(Some("teller"), "POST", "/v1/x");
    assert!(!told.allowed);
    assert_eq!(
        told.because,
        "AccessPolicy bank/readers refuses: 403, flag AZ"
    );
    let enforced = told.policies.iter().find(|policy| !policy.dry_run);
    let rules = &enforced.expect("readers").rules;
    assert_eq!(
        rules[0],
        "spec.rules[0] (mesh.yaml:13): `to.methods` does not have POST"
    );
    assert!(rules[1].contains("`from` does not have spiffe://usher.local/ns/bank/sa/teller"));
    assert!(told.policies.iter().any(|policy| policy.dry_run));
}

#[test]
fn a_caller_without_a_sidecar_is_told_of_mutual_tls() {
    let told = told(None, "GET", "/");
    assert!(
        !told.allowed && told.because.contains("mtls.mode is Strict"),
        "{told:?}"
    );
}
