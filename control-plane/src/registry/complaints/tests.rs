//! What operators are told about objects that are in force.

use std::time::SystemTime;

use usher_config::parse::parse_files;

use super::*;

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: { name: store }
spec: { selector: { app: store }, ports: [{ port: 5432, appProtocol: tcp }] }
---
apiVersion: v1
kind: Service
metadata: { name: one }
spec: { selector: { app: store }, ports: [{ port: 5432, appProtocol: tcp }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: store, labels: { app: store } }
spec: { serviceAccount: store }
---
";

fn route(name: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{ name: {name} }}\n\
         spec: {{ parentRefs: [{{ group: '', kind: Service, name: store }}], rules: [{{ backendRefs: [{{ name: one, port: 5432 }}] }}] }}\n---\n"
    )
}

fn said(documents: &[String]) -> Vec<Condition> {
    let text = SERVICES.to_owned() + &documents.concat();
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    let reading = World::default().read(&parsed, Path::new(""), SystemTime::now());
    reading.remarks
}

#[test]
fn a_policy_that_calls_are_led_past_is_told_of() {
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: guard }\n\
                  spec: { targetRefs: [{ kind: Service, name: store }] }\n";
    let said = said(&[route("way"), policy.to_owned()]);
    let [remark] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(remark.object, "AccessPolicy default/guard");
    for part in [
        "TCPRoute default/way",
        "`default/one`",
        "never meet this one",
    ] {
        assert!(remark.message.contains(part), "{part}: {}", remark.message);
    }
}

#[test]
fn whoever_was_first_is_not_guessed_where_it_is_known() {
    assert_eq!(said(&[route("one"), route("two")]), []);
}

/// What refuses a first start.
fn unguarded_of(documents: &str) -> Vec<String> {
    let text = SERVICES.to_owned() + documents;
    unguarded(&parse_files(&[("mesh.yaml".into(), text)]), Path::new(""))
}

#[test]
fn a_broken_route_that_a_policy_guards_refuses_a_first_start() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: way }\n\
                 spec: { parentRefs: [{ group: '', kind: Service, name: store }], rules: [{ nonsense: 1 }] }\n---\n";
    assert_eq!(
        unguarded_of(route),
        Vec::<String>::new(),
        "nobody guards it"
    );
    let guards = [
        "kind: AuthenticationPolicy\nmetadata: { name: guard }\nspec: { targetRefs: [{ kind: HTTPRoute, name: way }], \
         jwt: [{ issuer: 'https://a.test', audiences: [bank], jwks: { uri: 'https://a.test/keys' } }] }\n",
        "kind: AuthenticationPolicy\nmetadata: { name: guard }\nspec: { targetRefs: [{ kind: HTTPRoute, name: way }], jwt: 7 }\n",
        "kind: RateLimitPolicy\nmetadata: { name: guard }\nspec: { targetRefs: [{ kind: HTTPRoute, name: way }], \
         limits: [{ name: all, requests: 1, per: 1s }] }\n",
    ];
    for guard in guards {
        let said = unguarded_of(&format!("{route}apiVersion: usher.dev/v1alpha1\n{guard}"));
        assert!(
            said.iter().any(|line| line.contains("nonsense")),
            "{guard}: {said:?}"
        );
    }
}

#[test]
fn a_guard_for_what_is_not_there_refuses_a_first_start() {
    let guards = [
        ("AccessPolicy", "rules: [{ from: { namespaces: [a] } }]"),
        (
            "AuthenticationPolicy",
            "jwt: [{ issuer: 'https://a.test', audiences: [bank], jwks: { uri: 'https://a.test/keys' } }]",
        ),
        (
            "RateLimitPolicy",
            "limits: [{ name: all, requests: 1, per: 1s }]",
        ),
    ];
    for (kind, rest) in guards {
        let guard = |target: &str| {
            format!(
                "apiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: guard }}\n\
                 spec: {{ targetRefs: [{{ kind: Service, name: {target} }}], {rest} }}\n"
            )
        };
        let said = unguarded_of(&guard("stor"));
        let [line] = &said[..] else {
            panic!("{kind}: {said:?}")
        };
        assert!(line.starts_with("mesh.yaml:"), "{line}");
        assert!(line.contains("spec.targetRefs[0]"), "{line}");
        assert_eq!(
            unguarded_of(&guard("store")),
            Vec::<String>::new(),
            "{kind}"
        );
    }
    let traffic = "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: t }\n\
                   spec: { targetRefs: [{ kind: Service, name: stor }], timeouts: { request: 1s } }\n";
    assert_eq!(
        unguarded_of(traffic),
        Vec::<String>::new(),
        "guards nothing"
    );
}
