//! What refuses a first start.

use usher_config::parse::parse_files;

use super::*;
use crate::registry::tests::SERVICES;

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
