//! What changes is named, for whom it changes.

use usher_config::parse::parse_files;

use super::*;
use crate::{compile::compile, registry::World};

fn compiled(more: &str) -> Compiled {
    let text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: a, namespace: bank}}
spec: {{selector: {{app: a}}, ports: [{{port: 8080, appProtocol: http}}]}}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {{name: a, namespace: bank, labels: {{app: a}}}}
spec: {{serviceAccount: a}}
{more}"
    );
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    assert!(!parsed.has_errors(), "{:?}", parsed.mistakes);
    let now = std::time::SystemTime::UNIX_EPOCH;
    compile(
        &World::default()
            .read(&parsed, std::path::Path::new(""), now)
            .world,
    )
}

fn proxies() -> Vec<ProxyReport> {
    let proxy = |node: &str, calls: &[&str]| ProxyReport {
        node: node.to_owned(),
        calls: calls.iter().map(|&name| name.to_owned()).collect(),
        ..ProxyReport::default()
    };
    vec![
        proxy("bank/a/a-1", &[]),
        proxy("bank/web/web-1", &["bank/a"]),
        proxy("bank/web/web-2", &["bank/b"]),
    ]
}

#[test]
fn a_policy_concerns_callers_and_a_rule_the_instances() {
    let traffic = "---
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: p, namespace: bank}
spec: {targetRefs: [{kind: Service, name: a}], timeouts: {request: 3s}}
";
    let access = "---
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {name: p, namespace: bank}
spec: {targetRefs: [{kind: Service, name: a}], rules: [{from: {namespaces: [bank]}}]}
";
    for (more, of, what, told) in [
        (
            traffic,
            "callers of Service bank/a",
            "policy",
            "bank/web/web-1",
        ),
        (access, "instances of bank/a", "access", "bank/a/a-1"),
    ] {
        let found = effects(&compiled(""), &compiled(more), &proxies());
        let [effect] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(
            (effect.of.as_str(), effect.what.as_slice()),
            (of, &[what][..])
        );
        assert_eq!(effect.proxies, [told]);
    }
}

#[test]
fn the_same_concerns_nobody() {
    assert_eq!(effects(&compiled(""), &compiled(""), &proxies()), []);
}

#[test]
fn a_new_service_is_an_addition_for_callers_and_instances() {
    let more = "---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: bank}
spec: {ports: [{port: 1}]}
";
    let found = effects(&compiled(""), &compiled(more), &proxies());
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.of.as_str(), one.what[0], one.proxies.len()))
        .collect();
    let expected = [
        ("callers of Service bank/b", "added", 1),
        ("instances of bank/b", "added", 0),
    ];
    assert_eq!(told, expected);
    let back = effects(&compiled(more), &compiled(""), &proxies());
    assert!(back.iter().all(|one| one.what == ["deleted"]));
}

#[test]
fn a_service_that_no_policy_guards_any_more_is_told_of() {
    let policy = |more: &str| {
        format!(
            "---
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {{name: p, namespace: bank}}
spec: {{targetRefs: [{{kind: Service, name: a}}], {more} rules: [{{from: {{namespaces: [bank]}}}}]}}
"
        )
    };
    let (guarded, on_trial) = (policy(""), policy("dryRun: true,"));
    let permissive = "---
apiVersion: usher.dev/v1alpha1
kind: Mesh
metadata: {name: default}
spec: {mtls: {mode: Permissive}}
";
    let (half_guarded, half_open) = (format!("{guarded}{permissive}"), permissive);
    let workloads = Some("every workload of the mesh");
    for (before, after, open_to) in [
        (&*guarded, "", workloads),
        (&guarded, &on_trial, workloads),
        (&half_guarded, half_open, Some("everybody")),
        ("", &guarded, None),
        (&on_trial, "", None),
        (&guarded, &policy("defaultAction: Allow,"), None),
    ] {
        let found = effects(&compiled(before), &compiled(after), &proxies());
        let own = found.iter().find(|one| one.of == "instances of bank/a");
        let own = own.unwrap_or_else(|| panic!("{before} {after}: {found:?}"));
        assert_eq!(own.unguarded, open_to, "{before} {after}");
    }
}
