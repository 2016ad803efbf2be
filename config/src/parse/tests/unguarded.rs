//! Policies of Services whose routes lead past them.

use super::*;

/// Three Services of `bank`, and one of `shop`, which lets routes of `bank` lead there.
fn services() -> String {
    let service = |name: &str| {
        let (namespace, name) = name.split_once('/').expect("qualified");
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{name: sql, port: 5432, appProtocol: tcp}}, {{name: web, port: 80, appProtocol: http}}]}}\n---\n\
             apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}\n\
             spec: {{serviceAccount: {name}}}\n---\n"
        )
    };
    ["bank/store", "bank/one", "bank/two", "shop/three"]
        .map(service)
        .concat()
}

const GRANT: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: shop}
spec:
  from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: bank}]
  to: [{group: '', kind: Service}]
---
";

/// Of `bank/store`.
fn route(kind: &str, namespace: &str, backends: &str) -> String {
    let (version, rest, port) = match kind {
        "TCPRoute" => ("v1alpha2", "", 5432),
        "TLSRoute" => ("v1", "hostnames: [a.test], ", 5432),
        _ => ("v1", "", 80),
    };
    let backends = backends.replace("PORT", &port.to_string());
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: way, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, namespace: bank, name: store, port: {port}}}], {rest}rules: [{{backendRefs: [{backends}]}}]}}\n---\n"
    )
}

fn policy(namespace: &str, targets: &str, rest: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: guard-{}, namespace: {namespace}}}\n\
         spec: {{targetRefs: [{targets}]{rest}}}\n---\n",
        targets.len()
    )
}

/// What is said of policies and the ways past them.
fn past(documents: &[&str]) -> Vec<String> {
    let parsed = parse(&(services() + &documents.concat()));
    let all = parsed.mistakes.iter().map(ToString::to_string);
    all.filter(|said| said.contains("never meet")).collect()
}

const STORE: &str = "{kind: Service, name: store}";
const ONE: &str = "{name: one, port: PORT}";

#[test]
fn a_policy_whose_service_leads_past_it_is_told_so_with_both_names() {
    for kind in ["TCPRoute", "TLSRoute", "HTTPRoute", "GRPCRoute"] {
        let said = past(&[&route(kind, "bank", ONE), &policy("bank", STORE, "")]);
        let [one] = said.as_slice() else {
            panic!("{kind}: {said:?}");
        };
        for part in [
            "warning: AccessPolicy bank/guard-28: spec.targetRefs[0]",
            &format!("Service `bank/store`, whose calls {kind} bank/way leads to `bank/one`"),
            "allowed: targetRefs that name `one`, too",
            "(the route: ",
        ] {
            assert!(one.contains(part), "{part}: {one}");
        }
    }
}

#[test]
fn who_may_not_be_named_takes_a_policy_of_its_own_namespace() {
    let three = "{namespace: shop, name: three, port: PORT}";
    let to_shop = route("TCPRoute", "bank", three);
    let guard = policy("bank", STORE, "");
    let said = past(&[GRANT, &to_shop, &guard]);
    assert!(
        matches!(said.as_slice(), [one] if one.contains("allowed: AccessPolicies for `shop/three`, each in the namespace")),
        "{said:?}"
    );
    assert_eq!(
        past(&[&to_shop, &guard]).len(),
        0,
        "without a grant nobody gets there"
    );
}

#[test]
fn nothing_is_said_where_nobody_gets_past() {
    let way = route("TCPRoute", "bank", ONE);
    let guard = policy("bank", STORE, "");
    let one = "{kind: Service, name: one}";
    let both = policy("bank", &format!("{STORE}, {one}"), "");
    let broken = policy("bank", one, ", defaultAction: Perhaps");
    let namespace = policy("bank", "{kind: Namespace, name: bank}", "");
    let mesh = policy("usher-system", "{kind: Mesh, name: any}", "");
    let open = policy("bank", STORE, ", defaultAction: Allow");
    let nowhere = route("TCPRoute", "bank", "{name: gone, port: PORT}");
    let nothing = route(
        "TCPRoute",
        "bank",
        "{name: store, port: PORT}, {name: one, port: PORT, weight: 0}",
    );
    let consumers = route("TCPRoute", "shop", "{name: three, port: PORT}");
    for (why, documents) in [
        ("no policy", vec![&way]),
        ("no route", vec![&guard]),
        ("all are named", vec![&way, &both]),
        ("another policy", vec![&way, &guard, &broken]),
        ("the namespace's", vec![&way, &guard, &namespace]),
        ("the mesh's", vec![&way, &guard, &mesh]),
        ("it refuses nobody", vec![&way, &open]),
        ("there is no such Service", vec![&nowhere, &guard]),
        ("nothing goes there", vec![&nothing, &guard]),
        ("they could go there anyway", vec![&consumers, &guard]),
    ] {
        let documents: Vec<&str> = documents.into_iter().map(String::as_str).collect();
        assert_eq!(past(&documents), Vec::<String>::new(), "{why}");
    }
}
