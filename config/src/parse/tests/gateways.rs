//! Mistakes in gateways and in references to them.

use super::*;

fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  \
         gatewayClassName: usher\n  listeners:\n{listeners}---\napiVersion: usher.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: edge}}\nspec: {{serviceAccount: edge}}\n"
    )
}

#[test]
fn a_listener_is_checked_against_its_protocol_and_its_neighbours() {
    for (listeners, expected) in [
        (
            "  - {name: a, port: 80, protocol: HTTP}\n  - {name: a, port: 81, protocol: HTTP}\n",
            "`a` for the second time",
        ),
        (
            "  - {name: a, port: 80, protocol: HTTP}\n  - {name: b, port: 80, protocol: HTTP}\n",
            "`port 80 with hostname *` for the second time",
        ),
        (
            "  - {name: a, port: 80, protocol: HTTP}\n  - {name: b, port: 80, protocol: TCP}\n",
            "protocol TCP on port 80, where another listener speaks HTTP",
        ),
        (
            "  - {name: a, port: 80, protocol: HTTP, tls: {}}\n",
            "tls, with protocol HTTP",
        ),
        ("  - {name: a, port: 443, protocol: HTTPS}\n", "nothing"),
        (
            "  - {name: a, port: 443, protocol: HTTPS, tls: {}}\n",
            "nothing",
        ),
        (
            "  - {name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}\n",
            "Passthrough, with protocol HTTPS",
        ),
        (
            "  - {name: a, port: 443, protocol: TLS, tls: {mode: Passthrough, certificateRefs: [{name: a}]}}\n",
            "a list of 1",
        ),
        (
            "  - {name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: a, namespace: other}]}}\n",
            "`other/a`, whose namespace has not allowed it",
        ),
        (
            "  - {name: a, port: 1, protocol: TCP, hostname: a.com}\n",
            "a hostname",
        ),
        (
            "  - {name: a, port: 1, protocol: TCP, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}\n",
            "HTTPRoute at [0], with protocol TCP",
        ),
        (
            "  - {name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}}\n",
            "nothing",
        ),
        ("  - {name: a, port: 80, protocol: UDP}\n", "`UDP`"),
    ] {
        let parsed = parse(&gateway(listeners));
        let said: Vec<&str> = parsed.mistakes.iter().map(|m| m.found.as_str()).collect();
        assert_eq!(said, [expected], "{listeners}");
    }
}

#[test]
fn a_reference_to_a_gateway_must_lead_somewhere() {
    let route = |parent: &str| {
        format!(
            "{}---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\n\
             spec: {{parentRefs: [{parent}], rules: [{{}}]}}\n",
            gateway("  - {name: web, port: 80, protocol: HTTP}\n")
        )
    };
    for (parent, expected) in [
        ("{name: edge}", ""),
        (
            "{group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: web, port: 80}",
            "",
        ),
        (
            "{name: egde}",
            "`egde`, but there is no Gateway `default/egde`",
        ),
        (
            "{name: edge, sectionName: wbe}",
            "`wbe`, which names no listener of Gateway `default/edge`",
        ),
        (
            "{name: edge, port: 81}",
            "`81`, which is no port of such a listener of Gateway `default/edge`",
        ),
        (
            "{kind: Service, name: edge}",
            "kind Service with the group gateway.networking.k8s.io (the default)",
        ),
        (
            "{group: '', name: edge}",
            "kind Gateway with the group \"\"",
        ),
    ] {
        let parsed = parse(&route(parent));
        let said: Vec<&str> = parsed.mistakes.iter().map(|m| m.found.as_str()).collect();
        let first = said.first().copied().unwrap_or_default();
        assert_eq!(first, expected, "{parent}: {said:?}");
    }
}

#[test]
fn a_secret_is_refused_with_what_to_do_instead() {
    let parsed =
        parse("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: kubernetes.io/tls\n");
    let mistake = parsed
        .mistakes
        .iter()
        .find(|m| m.field == "kind")
        .expect("refused");
    assert!(mistake.allowed.contains("--certificate"), "{mistake}");
}
