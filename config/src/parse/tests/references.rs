//! Facts about objects together.

use super::*;

fn with_service(text: &str) -> Parsed {
    parse_files(&[
        ("a.yaml".into(), text.to_owned()),
        ("service.yaml".into(), SERVICE.to_owned()),
    ])
}

fn policy(name: &str, target: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: {name}, namespace: bank}}\n\
         spec:\n  targetRefs: [{target}]\n---\n"
    )
}

#[test]
fn an_object_defined_twice_names_both_places_and_the_first_stays() {
    let parsed = with_service(SERVICE);
    assert_eq!(parsed.objects.len(), 2);
    let first = &parsed.mistakes[0];
    assert_eq!(
        first.to_string(),
        "service.yaml:3:18: Service bank/account: metadata.name: found Service bank/account \
        for the second time, allowed: each object once (first defined here: a.yaml:3:18)"
    );
}

#[test]
fn what_a_broken_object_refers_to_is_checked_in_the_same_pass() {
    let text = policy("a", "{kind: Service, name: acount}")
        .replace("---\n", "  timeouts: {request: 5 seconds}\n---\n");
    assert_eq!(
        said(&with_service(&text)),
        [
            "5: spec.targetRefs[0].name: `acount`, but there is no Service `bank/acount`",
            "6: spec.timeouts.request: `5 seconds`"
        ]
    );
    // With one element unread, the place of the others is not known.
    let text = policy(
        "a",
        "{kind: Servise, name: account}, {kind: Service, name: acount}",
    );
    assert_eq!(said(&with_service(&text)).len(), 1);
}

#[test]
fn a_second_mesh_is_refused() {
    let mesh = |name| {
        format!(
            "{{apiVersion: usher.dev/v1alpha1, kind: Mesh, metadata: {{name: {name}}}, spec: {{}}}}\n---\n"
        )
    };
    let parsed = parse(&(mesh("a") + &mesh("b")));
    assert_eq!(said(&parsed), ["3: metadata.name: a second Mesh"]);
    assert_eq!((parsed.objects.len(), parsed.rejected.len()), (1, 1));
}

#[test]
fn a_backend_that_is_not_there_is_a_warning_with_its_line() {
    let route = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: account, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: account}]
  rules:
    - backendRefs:
        - {name: acount, port: 50051}
        - {name: account, port: 80}
";
    let parsed = with_service(route);
    assert!(!parsed.has_errors());
    assert_eq!(parsed.objects.len(), 3);
    let text: Vec<String> = parsed.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "a.yaml:8:18: warning: HTTPRoute bank/account: spec.rules[0].backendRefs[0].name: found `acount`, but \
             there is no Service `bank/acount`, allowed: account; did you mean `account`?",
            "a.yaml:9:33: warning: HTTPRoute bank/account: spec.rules[0].backendRefs[1].port: found `80`, which is \
             no port of Service `bank/account`, allowed: 50051",
        ]
    );
}

#[test]
fn a_target_must_exist() {
    for (target, expected) in [
        ("{kind: Service, name: account}", &[][..]),
        (
            "{kind: Service, name: accounts}",
            &["5: spec.targetRefs[0].name: `accounts`, but there is no Service `bank/accounts`"],
        ),
        ("{kind: Namespace, name: bank}", &[]),
        (
            "{kind: Namespace, name: shop}",
            &["5: spec.targetRefs[0].name: `shop`"],
        ),
        (
            "{kind: Mesh, name: any}",
            &["5: spec.targetRefs[0].kind: `Mesh`, in a policy of the namespace `bank`"],
        ),
        (
            "{kind: HTTPRoute, name: a}",
            &["5: spec.targetRefs[0].name: `a`, but there is no such HTTPRoute in `bank`"],
        ),
        (
            "{kind: Service, name: account, sectionName: a}",
            &["5: spec.targetRefs[0].sectionName: a sectionName"],
        ),
        (
            "{kind: Service, group: apps, name: account}",
            &["5: spec.targetRefs[0].group: `apps`"],
        ),
    ] {
        assert_eq!(
            said(&with_service(&policy("a", target))),
            expected,
            "{target}"
        );
    }
}

#[test]
fn two_policies_on_one_target_name_each_other() {
    let target = "{kind: Service, name: account}";
    let parsed = with_service(&(policy("one", target) + &policy("two", target)));
    assert_eq!(parsed.mistakes.len(), 1);
    let text = parsed.mistakes[0].to_string();
    assert!(
        text.contains("TrafficPolicy bank/two") && text.contains("TrafficPolicy bank/one"),
        "{text}"
    );
    // Which one holds depends on which was accepted first, and that is not known here.
    assert_eq!(parsed.objects.len(), 4);
}

#[test]
fn a_broken_service_is_not_also_called_missing() {
    let broken = "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: bank}\nspec: {ports: []}\n---\n";
    let parsed = parse(&(broken.to_owned() + &policy("a", "{kind: Service, name: shop}")));
    assert_eq!(said(&parsed), ["4: spec.ports: a list of 0"]);
}

#[test]
fn a_selector_that_takes_nobody_is_a_warning() {
    let parsed = parse(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [{port: 1}]}}",
    );
    assert_eq!(
        said(&parsed),
        ["1: spec.selector: `app: a`, which selects no Workload in `default`"]
    );
    assert!(!parsed.has_errors());
}

#[test]
fn two_services_cannot_share_an_address() {
    let service = |name| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: 10.0.0.1, ports: [{{port: 1}}]}}}}\n---\n"
        )
    };
    let parsed = parse(&(service("a") + &service("b")));
    assert!(said(&parsed).contains(
        &"3: spec.clusterIP: `10.0.0.1`, which Service default/a has already".to_owned()
    ));
}

#[test]
fn host_names_for_a_service_alone_are_said_to_do_nothing() {
    let route = |parents: &str| {
        parse(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{selector: {{app: a}}, ports: [{{port: 1}}]}}\n---\n\
             apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {{name: a, labels: {{app: a}}}}\nspec: {{serviceAccount: a}}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a}}\nspec:\n  parentRefs: [{parents}]\n  \
             hostnames: [a.example]\n  rules: [{{backendRefs: [{{name: a, port: 1}}]}}]\n"
        ))
    };
    let service = "{group: '', kind: Service, name: a}";
    let said_of = |parents: &str| {
        let said = said(&route(parents));
        said.into_iter()
            .filter(|said| said.contains("spec.hostnames"))
            .count()
    };
    assert_eq!(said_of(service), 1);
    assert_eq!(said_of(&format!("{service}, {{name: edge}}")), 0);
}

#[test]
fn a_caller_that_no_workload_can_be_is_a_warning_with_the_nearest() {
    const WEB: &str = "\
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop}
spec: {serviceAccount: web}
---
";
    let policy = |from: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: a, namespace: bank}}\n\
             spec:\n  targetRefs: [{{kind: Service, name: account}}]\n  rules:\n  - from: {from}\n---\n"
        )
    };
    for (from, expected) in [
        ("{serviceAccounts: [account, shop/web]}", None),
        (
            "{serviceAccounts: [account, acount]}",
            Some(
                "spec.rules[0].from.serviceAccounts[1]: found `acount`, but no Workload has this service account, \
                 allowed: account; did you mean `account`?",
            ),
        ),
        (
            "{serviceAccounts: [web]}",
            Some(
                "spec.rules[0].from.serviceAccounts[0]: found `web`, but no Workload has this service account, \
                 allowed: account",
            ),
        ),
        (
            "{serviceAccounts: [shp/web]}",
            Some(
                "spec.rules[0].from.serviceAccounts[0]: found `shp/web`, but no Workload has this service account, \
                 allowed: account, shop/web; did you mean `shop/web`?",
            ),
        ),
        (
            "{principals: [spiffe://usher.local/ns/shop/sa/wbe]}",
            Some(
                "spec.rules[0].from.principals[0]: found `spiffe://usher.local/ns/shop/sa/wbe`, but no Workload has \
                 this service account, allowed: spiffe://usher.local/ns/shop/sa/web; did you mean \
                 `spiffe://usher.local/ns/shop/sa/web`?",
            ),
        ),
        ("{principals: [spiffe://elsewhere/ns/shop/sa/wbe]}", None),
    ] {
        let parsed = with_service(&(policy(from) + WEB));
        assert!(!parsed.has_errors(), "{from}");
        let said: Vec<String> = parsed.mistakes.iter().map(ToString::to_string).collect();
        let said: Vec<&str> = said
            .iter()
            .filter_map(|text| Some(text.split_once("AccessPolicy bank/a: ")?.1))
            .collect();
        assert_eq!(said, Vec::from_iter(expected), "{from}");
    }
    // Without any Workload it is a part of a configuration.
    let alone = parse(&policy("{serviceAccounts: [nobody]}"));
    let warned = alone
        .mistakes
        .iter()
        .any(|mistake| mistake.found.contains("nobody"));
    assert!(!warned, "{:?}", alone.mistakes);
}

#[test]
fn of_many_accounts_the_first_are_listed() {
    let workload = |number| {
        format!(
            "---\napiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {{ name: w{number:04}, namespace: far }}\n\
             spec: {{ serviceAccount: w{number:04} }}\n"
        )
    };
    let many: String = (0..1_000).map(workload).collect();
    let policy = "---\napiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: p, namespace: empty }\n\
                  spec:\n  targetRefs: [{ group: \"\", kind: Namespace, name: empty }]\n  rules: [{ from: { serviceAccounts: [nobody] } }]\n";
    let parsed = parse(&format!("{many}{policy}"));
    let said: Vec<&str> = parsed.mistakes.iter().map(|one| &*one.allowed).collect();
    let first: Vec<String> = (0..8).map(|number| format!("far/w{number:04}")).collect();
    assert_eq!(said, [format!("{} and 992 more", first.join(", "))]);
}
