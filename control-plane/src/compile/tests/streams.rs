//! Whose connections TLSRoutes and TCPRoutes take, and which of them a port has.

use super::*;

/// `a` has a port for requests, one for connections, one for TLS, and one that says nothing.
fn services() -> String {
    let ports = "[{name: web, port: 80, appProtocol: http}, {name: sql, port: 5432, appProtocol: tcp}, \
                 {name: vault, port: 8443, appProtocol: tls}, {name: any, port: 9000}]";
    ["bank/a", "bank/b", "shop/c"]
        .map(|name| {
            let (namespace, name) = name.split_once('/').expect("qualified");
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
                 selector: {{app: {name}}}\n  ports: {ports}\n"
            )
        })
        .join("---\n")
}

/// For `bank/a`; `parent` says more about it.
fn route(kind: &str, name: &str, parent: &str, rest: &str) -> String {
    let (namespace, name) = name.split_once('/').expect("qualified");
    let version = match kind {
        "TCPRoute" => "v1alpha2",
        _ => "v1",
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, namespace: bank, name: a{parent}}}]\n{rest}"
    )
}

const TO_B: &str = "  rules: [{backendRefs: [{name: b, port: 5432}]}]\n";

fn tls(name: &str, hostnames: &str) -> String {
    let rest = format!("  hostnames: [{hostnames}]\n{TO_B}");
    route("TLSRoute", name, ", port: 8443", &rest)
}

/// Of `bank/a`: object, ports, host name, callers.
fn streams(compiled: &Compiled) -> Vec<String> {
    let all = compiled.services[&named("bank/a")].streams.iter();
    all.map(|stream| {
        let mut parts = stream.name.split('/');
        let object = parts.nth(2).expect("an object");
        let ports: Vec<_> = stream.ports.iter().map(ToString::to_string).collect();
        let host = stream.hostname.as_ref().map_or("*", |host| host.as_str());
        let callers = stream.callers.as_ref().map_or("all", |name| name.as_str());
        format!("{object} {} {host} {callers}", ports.join(","))
    })
    .collect()
}

fn reasons<'a>(compiled: &'a Compiled, name: &str) -> Vec<(Reason, &'a str)> {
    let about = compiled.findings.iter();
    let about = about.filter(|finding| finding.object.name.as_str() == name);
    about
        .map(|finding| (finding.reason, finding.message.as_str()))
        .collect()
}

#[test]
fn a_route_takes_the_ports_that_carry_connections() {
    for (parent, expected) in [
        ("", "r 5432,8443,9000 * all"),
        (", port: 5432", "r 5432 * all"),
        (", sectionName: any", "r 9000 * all"),
    ] {
        let compiled = compile(&world(&[
            &services(),
            &route("TCPRoute", "bank/r", parent, TO_B),
        ]));
        assert_eq!(streams(&compiled), [expected], "{parent}");
        assert_eq!(reasons(&compiled, "r"), []);
    }
    let compiled = compile(&world(&[
        &services(),
        &route("TCPRoute", "bank/r", ", port: 80", TO_B),
    ]));
    assert!(streams(&compiled).is_empty());
    assert!(matches!(
        reasons(&compiled, "r").as_slice(),
        [(Reason::TargetNotFound, message)] if message.contains("carries connections")
    ));
}

#[test]
fn a_port_belongs_to_the_oldest_route_then_to_the_first_by_name() {
    let younger = route("TCPRoute", "bank/a-younger", "", TO_B);
    let older = route("TCPRoute", "bank/older", ", port: 5432", TO_B);
    let compiled = compile(&world(&[&services(), &older, &younger]));
    assert_eq!(
        streams(&compiled),
        ["older 5432 * all", "a-younger 8443,9000 * all"]
    );
    assert!(matches!(
        reasons(&compiled, "a-younger").as_slice(),
        [(Reason::Conflicted, message)]
            if message.contains("TCPRoute bank/older") && message.contains("port 5432 of Service bank/a")
    ));
    let one = route("TCPRoute", "bank/z", ", port: 5432", TO_B);
    let two = route("TCPRoute", "bank/y", ", port: 5432", TO_B);
    let compiled = compile(&world(&[&services(), &format!("{one}---\n{two}")]));
    assert_eq!(streams(&compiled), ["y 5432 * all"]);
}

#[test]
fn of_tls_routes_each_name_belongs_to_one() {
    let compiled = compile(&world(&[
        &services(),
        &tls("bank/first", "one.test, '*.test'"),
        &tls("bank/second", "'*.test', two.test"),
    ]));
    assert_eq!(
        streams(&compiled),
        [
            "first 8443 *.test all",
            "first 8443 one.test all",
            "second 8443 two.test all"
        ]
    );
    assert!(matches!(
        reasons(&compiled, "second").as_slice(),
        [(Reason::Conflicted, message)] if message.contains("for *.test")
    ));
    assert_eq!(reasons(&compiled, "first"), []);
}

#[test]
fn a_port_has_one_kind_of_route_requests_before_names_before_bytes() {
    let tcp = route("TCPRoute", "bank/bytes", "", TO_B);
    let http = route("HTTPRoute", "bank/requests", "", "  rules: [{}]\n");
    let names = tls("bank/names", "one.test");
    // Whoever came first: this is not about age.
    let compiled = compile(&world(&[&services(), &tcp, &names, &http]));
    assert_eq!(
        streams(&compiled),
        ["bytes 5432 * all", "names 8443 one.test all"],
        "requests have the port that declares nothing, and no claim to those that only have connections"
    );
    let said = reasons(&compiled, "bytes");
    let conflicts = said
        .iter()
        .filter(|(reason, _)| *reason == Reason::Conflicted);
    assert_eq!(conflicts.count(), 2, "{said:?}");
    assert_eq!(reasons(&compiled, "requests"), []);
    assert_eq!(compiled.services[&named("bank/a")].routes.len(), 1);
}

#[test]
fn a_consumer_route_is_for_its_own_namespace_and_in_nobodys_way() {
    let rules = "  rules: [{backendRefs: [{name: c, port: 5432}, {namespace: bank, name: a, port: 5432}]}]\n";
    let compiled = compile(&world(&[
        &services(),
        &route("TCPRoute", "bank/producer", ", port: 5432", TO_B),
        &route("TCPRoute", "shop/consumer", ", port: 5432", rules),
    ]));
    assert_eq!(
        streams(&compiled),
        ["producer 5432 * all", "consumer 5432 * shop"]
    );
    assert_eq!(
        reasons(&compiled, "consumer"),
        [],
        "back to the parent takes no grant"
    );
}

#[test]
fn a_backend_of_another_namespace_takes_a_grant_for_its_kind_of_route() {
    let grant = |kind: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: shop}}\nspec:\n  \
             from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: bank}}]\n  to: [{{group: '', kind: Service}}]\n"
        )
    };
    let rules = "  rules: [{backendRefs: [{name: b, port: 5432, weight: 3}, {namespace: shop, name: c, port: 5432}, \
                 {name: gone, port: 1}]}]\n";
    let targets = |documents: &[&str]| {
        let services = services();
        let route = route("TCPRoute", "bank/r", ", port: 5432", rules);
        let all: Vec<&str> = [services.as_str(), &route]
            .into_iter()
            .chain(documents.iter().copied())
            .collect();
        let compiled = compile(&world(&all));
        let said: Vec<Reason> = reasons(&compiled, "r")
            .iter()
            .map(|(reason, _)| *reason)
            .collect();
        let stream = &compiled.services[&named("bank/a")].streams[0];
        let leads = stream.backends.iter().map(|backend| {
            (
                backend.weight.get(),
                matches!(backend.target, BackendTarget::Service(_)),
            )
        });
        (leads.collect::<Vec<_>>(), said)
    };
    let refused = (
        vec![(3, true), (1, false), (1, false)],
        vec![Reason::RefNotPermitted, Reason::RefNotResolved],
    );
    assert_eq!(targets(&[]), refused);
    assert_eq!(targets(&[&grant("HTTPRoute")]), refused);
    assert_eq!(
        targets(&[&grant("TCPRoute")]),
        (
            vec![(3, true), (1, true), (1, false)],
            vec![Reason::RefNotResolved]
        )
    );
}
