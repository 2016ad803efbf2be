//! Routes for connections, and the Services whose connections they take.

use super::*;

const STORE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: store}
spec:
  selector: {app: store}
  ports: [{name: web, port: 80, appProtocol: http}, {name: rpc, port: 81, appProtocol: grpc}, {name: sql, port: 5432, appProtocol: tcp}, {name: any, port: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: store}, ports: [{port: 5432, appProtocol: tcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  selector: {app: store}
  ports: [{name: web, port: 80, appProtocol: http}, {name: rpc, port: 81, appProtocol: grpc}]
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: store, labels: {app: store}}
spec: {serviceAccount: store}
---
";

/// What is said of a route with this parent, `group` and `kind` left out.
fn of(kind: &str, parent: &str, backend: &str) -> (Vec<String>, bool) {
    let (version, hostnames) = match kind {
        "TLSRoute" => ("v1", "hostnames: [a.test], "),
        _ => ("v1alpha2", ""),
    };
    let parsed = parse(&format!(
        "{STORE}apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: r}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, {parent}}}], {hostnames}rules: [{{backendRefs: [{{{backend}}}]}}]}}\n"
    ));
    let mistakes = parsed.mistakes.iter();
    let said = mistakes.map(|mistake| format!("{}: {}", mistake.field, mistake.found));
    (said.collect(), parsed.has_errors())
}

#[test]
fn a_parent_service_must_have_connections_there() {
    let requests = "port 80, to which there are only requests (appProtocol: http)";
    for (parent, expected) in [
        ("name: store, port: 5432", String::new()),
        ("name: store, sectionName: sql", String::new()),
        (
            "name: store, port: 80",
            format!("spec.parentRefs[0].port: {requests}"),
        ),
        (
            "name: store, sectionName: web",
            format!("spec.parentRefs[0].sectionName: {requests}"),
        ),
        (
            "name: api",
            "spec.parentRefs[0].name: Service `default/api`, to whose ports there are only requests (appProtocol)"
                .to_owned(),
        ),
        (
            "name: stroe",
            "spec.parentRefs[0].name: `stroe`, but there is no Service `default/stroe`".to_owned(),
        ),
        (
            "name: store, port: 1",
            "spec.parentRefs[0].port: `1`, which is no port of Service `default/store`".to_owned(),
        ),
    ] {
        for kind in ["TLSRoute", "TCPRoute"] {
            let (said, errors) = of(kind, parent, "name: other, port: 5432");
            assert_eq!(said.join("; "), expected, "{kind}, {parent}");
            assert_eq!(errors, !expected.is_empty(), "{kind}, {parent}");
        }
    }
}

#[test]
fn what_begins_as_http_on_a_port_that_declares_nothing_is_no_bytes() {
    let backend = "name: store, port: 5432";
    for kind in ["TCPRoute", "TLSRoute"] {
        let (said, errors) = of(kind, "name: store, port: 9000", backend);
        assert!(!errors);
        assert!(
            matches!(said.as_slice(), [one] if one.contains("port 9000, which declares no appProtocol")),
            "{kind}: {said:?}"
        );
    }
}

#[test]
fn a_backend_of_a_consumer_route_may_be_the_parent_without_a_grant() {
    let elsewhere = "namespace: elsewhere, name: store, port: 5432";
    let (said, errors) = of("TCPRoute", elsewhere, elsewhere);
    // There is no such Service, and that is all.
    assert!(
        errors && said.iter().all(|said| said.contains("there is no Service")),
        "{said:?}"
    );
    let (said, _) = of("TCPRoute", "name: store, port: 5432", elsewhere);
    assert!(
        said[0].contains("whose namespace has not allowed it"),
        "{said:?}"
    );
}

/// Routes of `store`, each of a kind, with a parent's port and host names; what is said of them.
fn together(routes: &[(&str, &str, &str)]) -> Vec<String> {
    let mut text = STORE.to_owned();
    for ((kind, parent, hostnames), number) in routes.iter().zip(0..) {
        let (version, backends) = match *kind {
            "TCPRoute" => ("v1alpha2", "[{name: other, port: 5432}]"),
            "TLSRoute" => ("v1", "[{name: other, port: 5432}]"),
            _ => ("v1", "[]"),
        };
        text += &format!(
            "---\napiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: r{number}}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: store{parent}}}], {hostnames}rules: [{{backendRefs: {backends}}}]}}\n"
        );
    }
    let parsed = parse(&text);
    assert!(!parsed.has_errors(), "each alone is right");
    let rivals = parsed
        .mistakes
        .iter()
        .filter(|mistake| mistake.found.contains("which"));
    let said = rivals.filter(|mistake| mistake.related.is_some());
    said.map(|mistake| {
        let object = mistake.key.as_ref().expect("an object's");
        format!("{}: {}", object.name, mistake.found)
    })
    .collect()
}

#[test]
fn routes_that_want_the_same_port_are_told_of_each_other() {
    let (sql, any) = (", port: 5432", ", port: 9000");
    let two = together(&[("TCPRoute", sql, ""), ("TCPRoute", sql, "")]);
    let first = "(the first by name; if this one is older, it is the other way round)";
    let lost = "this one is not followed there";
    let theirs = format!(
        "port 5432 of Service `default/store`, which TCPRoute default/r0 has {first}: {lost}"
    );
    assert_eq!(two, [format!("r1: {theirs}")]);
    let names = [
        ("TLSRoute", sql, "hostnames: [a.test, b.test], "),
        ("TLSRoute", sql, "hostnames: [b.test, '*.test'], "),
    ];
    assert_eq!(
        together(&names),
        [format!(
            "r1: port 5432 of Service `default/store` for `b.test`, which TLSRoute default/r0 has {first}: {lost}"
        )]
    );
    let three = together(&[("TCPRoute", sql, ""); 3]);
    assert_eq!(three, [format!("r1: {theirs}"), format!("r2: {theirs}")]);
    let kinds = [("TCPRoute", any, ""), ("HTTPRoute", "", "")];
    assert_eq!(
        together(&kinds),
        [format!(
            "r0: port 9000 of Service `default/store`, which HTTPRoute default/r1 has: {lost}"
        )]
    );
    assert!(together(&[("TCPRoute", sql, ""), ("HTTPRoute", "", "")]).is_empty());
    assert!(together(&[("TCPRoute", sql, ""), ("TCPRoute", any, "")]).is_empty());
    let twice = [("TLSRoute", sql, "hostnames: [a.test, b.test], ")];
    assert!(together(&twice).is_empty(), "nobody is one's own rival");
}

#[test]
fn of_two_routes_of_one_age_the_first_by_name_has_the_port_wherever_it_is_written() {
    let route = |name: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{name: {name}}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: store, port: 5432}}], rules: [{{backendRefs: [{{name: other, port: 5432}}]}}]}}\n"
        )
    };
    let parsed = parse(&format!("{STORE}{}{}", route("z"), route("a")));
    let rivals = parsed.mistakes.iter().filter(|one| one.related.is_some());
    let said: Vec<String> = rivals.map(ToString::to_string).collect();
    assert!(
        matches!(said.as_slice(), [one] if one.contains("TCPRoute default/z") && one.contains("which TCPRoute default/a has")),
        "{said:?}"
    );
}

#[test]
fn bytes_for_a_port_that_takes_requests_only_are_remarked_on() {
    for kind in ["TCPRoute", "TLSRoute"] {
        let (said, errors) = of(kind, "name: store, port: 5432", "name: api, port: 81");
        assert!(!errors);
        assert_eq!(
            said,
            [
                "spec.rules[0].backendRefs[0].port: `81`, which takes requests only (appProtocol: grpc): connections that \
                 are led there are reset"
            ],
            "{kind}"
        );
    }
}

#[test]
fn a_route_that_leads_only_back_is_remarked_on() {
    let back = |parent: &str, backend: &str| {
        let (said, errors) = of("TCPRoute", parent, backend);
        assert!(!errors, "{said:?}");
        said.iter().any(|one| one.contains("changes nothing"))
    };
    let itself = "name: store, port: 5432";
    assert!(back(itself, itself));
    assert!(!back(itself, "name: other, port: 5432"));
    assert!(!back(itself, "name: store, port: 9000"), "another port");
    assert!(!back("name: store", itself), "other ports, too");
    // What a TLSRoute leaves out by name is refused.
    let (said, _) = of("TLSRoute", itself, itself);
    assert_eq!(said, Vec::<String>::new());
    // Its namespace's callers go back there, whatever the owner's route says.
    let consumer = "\
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: r, namespace: elsewhere}
spec:
  parentRefs: [{group: '', kind: Service, namespace: default, name: store, port: 5432}]
  rules: [{backendRefs: [{namespace: default, name: store, port: 5432}]}]
";
    let parsed = parse(&format!("{STORE}{consumer}"));
    assert_eq!(said_of(&parsed), Vec::<String>::new());
}

fn said_of(parsed: &Parsed) -> Vec<String> {
    parsed.mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn an_address_is_no_name_that_tls_asks_for() {
    let parsed = parse(&format!(
        "{STORE}apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {{name: r}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: store}}], hostnames: [a.test, 10.0.0.1], \
         rules: [{{backendRefs: [{{name: other, port: 5432}}]}}]}}\n"
    ));
    let said = said_of(&parsed);
    assert!(parsed.has_errors());
    assert!(
        said.iter()
            .any(|one| one.contains("spec.hostnames[1]: found `10.0.0.1`")
                && one.contains("no IP address")),
        "{said:?}"
    );
}

#[test]
fn weights_that_are_all_0_are_remarked_on() {
    for (kind, port, consequence) in [
        ("TCPRoute", 5432, "every connection is reset"),
        ("TLSRoute", 5432, "every connection is reset"),
        ("HTTPRoute", 80, "every request gets 500"),
        ("GRPCRoute", 80, "every request gets 500"),
    ] {
        let of = |weights: [u32; 2]| {
            let (version, hostnames) = match kind {
                "TCPRoute" => ("v1alpha2", ""),
                "TLSRoute" => ("v1", "hostnames: [a.test], "),
                _ => ("v1", ""),
            };
            let (name, backend) = match port {
                80 => ("store", "api"),
                _ => ("store", "other"),
            };
            let backends = weights
                .map(|weight| format!("{{name: {backend}, port: {port}, weight: {weight}}}"))
                .join(", ");
            let parsed = parse(&format!(
                "{STORE}apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: r}}\n\
                 spec: {{parentRefs: [{{group: '', kind: Service, name: {name}, port: {port}}}], {hostnames}rules: [{{backendRefs: [{backends}]}}]}}\n"
            ));
            said(&parsed)
        };
        assert_eq!(of([0, 1]), Vec::<String>::new(), "{kind}");
        let all_0 = of([0, 0]);
        assert!(
            matches!(all_0.as_slice(), [one] if one.contains(&format!("spec.rules[0].backendRefs: weights that are all 0: {consequence}"))),
            "{kind}: {all_0:?}"
        );
    }
}
