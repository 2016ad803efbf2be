//! Which routes attach to which listeners, and for which host names.

use usher_config::model::{Gateway, Listener, ListenerProtocol};

use super::*;

const EDGE: &str = "
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: edge, namespace: bank}
spec: {serviceAccount: edge}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec:
  gatewayClassName: usher
  listeners:
  - {name: any, port: 80, protocol: HTTP}
  - {name: wild, port: 80, protocol: HTTP, hostname: '*.example.com'}
  - {name: exact, port: 80, protocol: HTTP, hostname: very.specific.com}
  - name: open
    port: 81
    protocol: HTTP
    allowedRoutes: {namespaces: {from: All}, kinds: [{kind: HTTPRoute}]}
  - name: chosen
    port: 82
    protocol: HTTP
    allowedRoutes:
      namespaces: {from: Selector, selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [shop]}]}}
  - {name: secret, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: one}, {name: two}]}}
  - {name: vault, port: 8443, protocol: TLS, hostname: '*.vault.com', tls: {mode: Passthrough}}
  - {name: sql, port: 5432, protocol: TCP}
";

fn route(kind: &str, (namespace, name): (&str, &str), spec: &str) -> String {
    let version = match kind {
        "TCPRoute" => "v1alpha2",
        _ => "v1",
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn edge(compiled: &Compiled) -> &Gateway {
    &compiled.gateways[&named("bank/edge")]
}

fn listener<'a>(compiled: &'a Compiled, name: &str) -> &'a Listener {
    let mut listeners = edge(compiled).listeners.iter();
    listeners
        .find(|listener| listener.name.as_str() == name)
        .expect("one of the gateway's")
}

/// Route and host name of each, in order; `*`: any.
fn attached<'a>(compiled: &'a Compiled, name: &str) -> Vec<(&'a str, &'a str)> {
    let routes = listener(compiled, name).routes.iter().map(|route| {
        let hostname = route.route.hostnames.first();
        let object = route.route.name.split('/').nth(2).expect("an object");
        (object, hostname.map_or("*", |hostname| hostname.as_str()))
    });
    let mut all: Vec<_> = routes.collect();
    all.dedup();
    all
}

fn reasons<'a>(compiled: &'a Compiled, name: &str) -> Vec<(Reason, &'a str)> {
    let about = compiled.findings.iter();
    let about = about.filter(|finding| finding.object.name.as_str() == name);
    about
        .map(|finding| (finding.reason, finding.message.as_str()))
        .collect()
}

/// The specification's own examples (HTTPRoute, `hostnames`).
#[test]
fn a_route_has_the_intersection_of_its_host_names_and_the_listeners() {
    let hosts = "{parentRefs: [{name: edge, port: 80}], hostnames: [example.com, test.example.com, '*.sub.example.com', '*.com', other.org], \
                 rules: [{backendRefs: [{name: a, port: 8080}]}]}";
    let compiled = compile(&world(&[
        EDGE,
        &service("a"),
        &route("HTTPRoute", ("bank", "r"), hosts),
    ]));
    assert_eq!(
        attached(&compiled, "any"),
        [
            ("r", "test.example.com"),
            ("r", "example.com"),
            ("r", "other.org"),
            ("r", "*.sub.example.com"),
            ("r", "*.com")
        ]
    );
    assert_eq!(
        attached(&compiled, "wild"),
        [
            ("r", "test.example.com"),
            ("r", "*.sub.example.com"),
            ("r", "*.example.com")
        ]
    );
    assert_eq!(attached(&compiled, "exact"), [("r", "very.specific.com")]);
    assert_eq!(attached(&compiled, "open"), [], "another port");
}

#[test]
fn a_route_without_host_names_has_the_listeners() {
    let spec = "{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: a, port: 8080}]}]}";
    let compiled = compile(&world(&[
        EDGE,
        &service("a"),
        &route("HTTPRoute", ("bank", "r"), spec),
    ]));
    assert_eq!(attached(&compiled, "any"), [("r", "*")]);
    assert_eq!(attached(&compiled, "wild"), [("r", "*.example.com")]);
    assert_eq!(attached(&compiled, "secret"), [("r", "*")]);
    let secret = listener(&compiled, "secret");
    assert_eq!(secret.protocol, ListenerProtocol::Https);
    assert_eq!(secret.certificates.len(), 2);
    assert_eq!(
        compiled.inbound[&named("bank/edge")].ports,
        [],
        "who runs it is a workload that only calls"
    );
}

#[test]
fn what_keeps_a_route_from_attaching_is_said() {
    let spec = |parent: &str, hosts: &str| {
        format!(
            "{{parentRefs: [{parent}], hostnames: [{hosts}], rules: [{{backendRefs: [{{name: a, namespace: bank, port: 8080}}]}}]}}"
        )
    };
    let compiled = compile(&world(&[
        EDGE,
        &service("a"),
        &route(
            "HTTPRoute",
            ("shop", "foreign"),
            &spec("{name: edge, namespace: bank, port: 80}", ""),
        ),
        &route(
            "HTTPRoute",
            ("shop", "open"),
            &spec("{name: edge, namespace: bank}", ""),
        ),
        &route(
            "HTTPRoute",
            ("other", "else"),
            &spec("{name: edge, namespace: bank}", ""),
        ),
        &route(
            "HTTPRoute",
            ("bank", "host"),
            &spec("{name: edge, sectionName: exact}", "general.com"),
        ),
        &route(
            "GRPCRoute",
            ("bank", "kind"),
            "{parentRefs: [{name: edge, sectionName: open}], rules: [{}]}",
        ),
        &route(
            "HTTPRoute",
            ("bank", "opaque"),
            &spec("{name: edge, sectionName: sql}", ""),
        ),
    ]));
    assert_eq!(attached(&compiled, "open"), [("open", "*"), ("else", "*")]);
    assert_eq!(attached(&compiled, "chosen"), [("open", "*")]);
    assert_eq!(attached(&compiled, "any"), []);
    for (name, reason) in [
        ("foreign", Reason::NotAllowedByListeners),
        ("host", Reason::NoMatchingListenerHostname),
        ("kind", Reason::NotAllowedByListeners),
        ("opaque", Reason::NotAllowedByListeners),
    ] {
        let said = reasons(&compiled, name);
        assert!(
            matches!(said.as_slice(), [(found, _), ..] if *found == reason),
            "{name}: {said:?}"
        );
    }
}

#[test]
fn a_host_name_belongs_to_routes_of_one_kind_the_older_ones() {
    let http = "{parentRefs: [{name: edge, sectionName: any}], hostnames: [a.com], rules: [{backendRefs: [{name: a, port: 8080}]}]}";
    let grpc = |host: &str| {
        format!(
            "{{parentRefs: [{{name: edge, sectionName: any}}], hostnames: [{host}], rules: [{{backendRefs: [{{name: a, port: 50051}}]}}]}}"
        )
    };
    let compiled = compile(&world(&[
        EDGE,
        &service("a"),
        &route("HTTPRoute", ("bank", "first"), http),
        &route("GRPCRoute", ("bank", "second"), &grpc("'*.com'")),
        &route("GRPCRoute", ("bank", "third"), &grpc("b.com")),
    ]));
    assert_eq!(
        attached(&compiled, "any"),
        [("first", "a.com"), ("third", "b.com")]
    );
    assert!(matches!(
        reasons(&compiled, "second").as_slice(),
        [(Reason::Conflicted, message)] if message.contains("HTTPRoute bank/first")
    ));
}

#[test]
fn connections_go_by_name_or_by_port() {
    let tls = "{parentRefs: [{name: edge, sectionName: vault}], hostnames: [a.vault.com, b.org], rules: [{name: only, backendRefs: [{name: a, port: 8080}]}]}";
    let tcp = "{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: a, port: 8080}, {name: b, port: 1}]}]}";
    let compiled = compile(&world(&[
        EDGE,
        &service("a"),
        &route("TLSRoute", ("bank", "t"), tls),
        &route("TCPRoute", ("bank", "s"), tcp),
    ]));
    let streams = |name: &str| -> Vec<(String, Option<String>, usize)> {
        let streams = listener(&compiled, name).streams.iter();
        streams
            .map(|stream| {
                let hostname = stream.hostname.as_ref().map(ToString::to_string);
                (stream.name.to_string(), hostname, stream.backends.len())
            })
            .collect()
    };
    assert_eq!(
        streams("vault"),
        [("TLSRoute/bank/t/only".into(), Some("a.vault.com".into()), 1)]
    );
    assert_eq!(streams("sql"), [("TCPRoute/bank/s/0".into(), None, 2)]);
    assert!(matches!(
        reasons(&compiled, "s").as_slice(),
        [(Reason::RefNotResolved, _)]
    ));
}

#[test]
fn a_backend_has_the_policy_of_its_service_under_that_of_the_route() {
    let policy = |name: &str, target: &str, spec: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: {name}, namespace: bank}}\n\
             spec: {{targetRefs: [{target}], {spec}}}\n"
        )
    };
    let spec = "{parentRefs: [{name: edge, sectionName: any}], rules: [{name: own, timeouts: {request: 3s}, backendRefs: [{name: a, port: 8080}]}, \
                {name: silent, matches: [{path: {value: /s}}], backendRefs: [{name: a, port: 8080}, {name: gone, port: 1}]}]}";
    let compiled = compile(&world(&[
        EDGE,
        &service("a"),
        &policy(
            "a",
            "{kind: Service, name: a}",
            "timeouts: {request: 9s, idle: 7s}",
        ),
        &route("HTTPRoute", ("bank", "r"), spec),
    ]));
    let routes = &listener(&compiled, "any").routes;
    let [silent, own] = routes.as_slice() else {
        panic!("two rules: {routes:?}")
    };
    let timeouts = &own.policies[0]
        .as_ref()
        .expect("the rule says something")
        .timeouts;
    assert_eq!(timeouts.request, Some(Duration::from_secs(3)));
    assert_eq!(timeouts.idle, Some(Duration::from_secs(7)));
    assert_eq!(silent.policies[..], [None, None], "the service's own");
}

#[test]
fn a_certificate_of_another_namespace_takes_a_grant() {
    let gateway = EDGE.replace(
        "{name: one}, {name: two}",
        "{name: one}, {name: two, namespace: vault}",
    );
    let grant = |from: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: vault}}\nspec:\n  \
             from: [{{group: gateway.networking.k8s.io, kind: {from}, namespace: bank}}]\n  to: [{{group: '', kind: Secret}}]\n"
        )
    };
    let shown = |documents: &[&str]| {
        let compiled = compile(&world(documents));
        let names = listener(&compiled, "secret").certificates.iter();
        let names: Vec<String> = names.map(ToString::to_string).collect();
        let refused = compiled.findings.iter().map(|finding| finding.reason);
        (names, refused.collect::<Vec<_>>())
    };
    let refused = (vec!["one".to_owned()], vec![Reason::RefNotPermitted]);
    assert_eq!(shown(&[&gateway]), refused);
    assert_eq!(shown(&[&gateway, &grant("HTTPRoute")]), refused);
    let both = vec!["one".to_owned(), "vault/two".to_owned()];
    assert_eq!(shown(&[&gateway, &grant("Gateway")]), (both, vec![]));
}
