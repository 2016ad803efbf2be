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
            let (said, errors) = of(kind, parent, "name: store, port: 5432");
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
            "TCPRoute" => ("v1alpha2", "[{name: store, port: 5432}]"),
            "TLSRoute" => ("v1", "[{name: store, port: 5432}]"),
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
    let theirs = "port 5432 of Service `default/store`, which TCPRoute default/r0 has";
    assert_eq!(two, [format!("r1: {theirs}")]);
    let names = [
        ("TLSRoute", sql, "hostnames: [a.test, b.test], "),
        ("TLSRoute", sql, "hostnames: [b.test, '*.test'], "),
    ];
    assert_eq!(
        together(&names),
        ["r1: port 5432 of Service `default/store` for `b.test`, which TLSRoute default/r0 has"]
    );
    let three = together(&[("TCPRoute", sql, ""); 3]);
    assert_eq!(three, [format!("r1: {theirs}"), format!("r2: {theirs}")]);
    let kinds = [("TCPRoute", any, ""), ("HTTPRoute", "", "")];
    assert_eq!(
        together(&kinds),
        ["r0: port 9000 of Service `default/store`, which HTTPRoute default/r1 has"]
    );
    assert!(together(&[("TCPRoute", sql, ""), ("HTTPRoute", "", "")]).is_empty());
    assert!(together(&[("TCPRoute", sql, ""), ("TCPRoute", any, "")]).is_empty());
    let twice = [("TLSRoute", sql, "hostnames: [a.test, b.test], ")];
    assert!(together(&twice).is_empty(), "nobody is one's own rival");
}
