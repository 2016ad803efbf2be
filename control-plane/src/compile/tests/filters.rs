//! Filters are resolved, references cross namespaces only where they may, consumer routes are for their own callers.

use usher_config::model::{BackendTarget, Listed, PathEdit};

use super::*;

fn route(namespace: &str, parent: &str, rule: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: {namespace}}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, {parent}}}]\n  rules:\n  - {rule}\n"
    )
}

#[test]
fn defaults_are_filled_in_and_a_prefix_is_the_matches() {
    let rule = "matches: [{path: {value: /old/}}]\n    filters:\n    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}\n    \
         - {type: CORS, cors: {allowOrigins: ['*'], allowMethods: [PUT, DELETE], allowHeaders: ['*']}}\n    \
         - {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 8080}, percent: 5}}\n    \
         - {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 8080}, fraction: {numerator: 1, denominator: 1000}}}\n    \
         - {type: RequestMirror, requestMirror: {backendRef: {name: missing, port: 8080}}}";
    let compiled = compile(&world(&[&service("a"), &route("bank", "name: a", rule)]));
    let filters = compiled.services[&named("bank/a")].routes[0]
        .filters
        .clone()
        .expect("filters");
    let rewrite = filters.rewrite.as_ref().expect("a rewrite");
    let expected = PathEdit::Prefix {
        matched: "/old/".into(),
        replacement: "/new".into(),
    };
    assert_eq!(rewrite.path, Some(expected));
    let cors = filters.cors.as_ref().expect("cors");
    assert_eq!(cors.max_age, Duration::from_secs(5));
    assert_eq!(cors.allow_headers, Listed::Any);
    assert_eq!(cors.expose_headers, Listed::Nothing);
    let methods = http::HeaderValue::from_static("PUT, DELETE");
    assert_eq!(cors.allow_methods, Listed::These(methods));
    let shares: Vec<_> = (filters.mirrors.iter())
        .map(|mirror| (mirror.numerator, mirror.denominator))
        .collect();
    assert_eq!(shares, [(5, 100), (1, 1000)]);
    let broken: Vec<&str> = (compiled.findings.iter())
        .map(|finding| finding.message.as_str())
        .filter(|message| message.contains("missing"))
        .collect();
    assert_eq!(
        broken,
        ["nothing is mirrored to it: Service bank/missing does not exist"]
    );
}

#[test]
fn a_redirect_is_302_and_has_no_backends() {
    let rule = "filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]";
    let compiled = compile(&world(&[&service("a"), &route("bank", "name: a", rule)]));
    let route = &compiled.services[&named("bank/a")].routes[0];
    let redirect = route.filters.as_ref().and_then(|f| f.redirect.clone());
    let redirect = redirect.expect("a redirect");
    assert_eq!(
        (redirect.status.as_u16(), redirect.https),
        (302, Some(true))
    );
    assert!(route.backends.is_empty());
}

const OTHER: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: other}\nspec: {selector: {app: b}, ports: [{port: 80}]}\n";

fn grant(from: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: other}}\nspec:\n  \
         from: [{{group: gateway.networking.k8s.io, kind: {from}, namespace: bank}}]\n  to: [{{group: '', kind: Service, name: b}}]\n"
    )
}

#[test]
fn another_namespaces_backend_is_invalid_without_a_grant() {
    let rule = "backendRefs: [{name: b, namespace: other, port: 80}]";
    let route = route("bank", "name: a", rule);
    let target = |grants: &[&str]| {
        let mut texts = vec![OTHER, &route];
        texts.extend(grants);
        let own = service("a");
        texts.insert(0, &own);
        let compiled = compile(&world(&texts));
        let found = compiled.services[&named("bank/a")].routes[0].backends[0].clone();
        let reasons: Vec<Reason> = compiled.findings.iter().map(|f| f.reason).collect();
        (found.target, reasons, compiled.findings)
    };
    let (invalid, reasons, findings) = target(&[]);
    assert!(matches!(invalid, BackendTarget::Invalid(_)));
    assert_eq!(reasons, [Reason::RefNotPermitted]);
    let message = &findings[0].message;
    assert!(
        message.starts_with("its share of requests to Service bank/a gets 500"),
        "{message}"
    );
    assert!(
        message.contains("a ReferenceGrant in the namespace `other`"),
        "{message}"
    );
    let (invalid, reasons, _) = target(&[&grant("GRPCRoute")]);
    assert!(matches!(invalid, BackendTarget::Invalid(_)));
    assert_eq!(reasons, [Reason::RefNotPermitted]);
    let (found, reasons, _) = target(&[&grant("HTTPRoute")]);
    assert!(matches!(found, BackendTarget::Service(_)));
    assert_eq!(reasons, []);
}

#[test]
fn nobody_learns_by_a_reference_what_another_namespace_has() {
    let said = |name: &str| {
        let rule = format!("backendRefs: [{{name: {name}, namespace: other, port: 80}}]");
        let route = route("bank", "name: a", &rule);
        let other = OTHER.replace("name: b", "name: elsewhere");
        let compiled = compile(&world(&[&service("a"), &other, &route]));
        compiled.findings[0].message.replace(name, "_")
    };
    assert_eq!(said("elsewhere"), said("nobody"));
}

#[test]
fn a_consumer_route_is_for_callers_in_its_namespace_and_may_lead_to_its_parent() {
    let rule = "backendRefs: [{name: a, namespace: bank, port: 8080}]";
    let consumer = route("shop", "name: a, namespace: bank", rule);
    let compiled = compile(&world(&[&service("a"), &consumer]));
    assert_eq!(compiled.findings, []);
    let route = &compiled.services[&named("bank/a")].routes[0];
    assert_eq!(route.callers, "shop".parse().ok());
    assert!(matches!(
        route.backends[0].target,
        BackendTarget::Service(_)
    ));
}

/// It is exempt from the grant only for callers of itself, and the others are told.
#[test]
fn a_consumer_route_with_several_parents_says_for_whom_it_leads_nowhere() {
    let rule = "backendRefs: [{name: a, namespace: bank, port: 8080}]";
    let both = "name: a, namespace: bank}, {group: '', kind: Service, name: b, namespace: bank";
    let compiled = compile(&world(&[
        &service("a"),
        &service("b"),
        &route("shop", both, rule),
    ]));
    let target = |name: &str| {
        compiled.services[&named(name)].routes[0].backends[0]
            .target
            .clone()
    };
    assert!(matches!(target("bank/a"), BackendTarget::Service(_)));
    assert!(matches!(target("bank/b"), BackendTarget::Invalid(_)));
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(finding.reason, Reason::RefNotPermitted);
    let message = &finding.message;
    assert!(
        message.contains("requests to Service bank/b gets 500"),
        "{message}"
    );
}

#[test]
fn a_backend_that_carries_no_http_is_said_to_be_none() {
    let rule = "backendRefs: [{name: sql, port: 5432}]";
    let sql = "apiVersion: v1\nkind: Service\nmetadata: {name: sql, namespace: bank}\nspec: {selector: {app: sql}, ports: [{port: 5432, appProtocol: tcp}]}\n";
    let compiled = compile(&world(&[
        &service("a"),
        sql,
        &route("bank", "name: a", rule),
    ]));
    assert!(matches!(
        compiled.services[&named("bank/a")].routes[0].backends[0].target,
        BackendTarget::Invalid(_)
    ));
    let message = &compiled.findings[0].message;
    assert!(
        message.contains("port 5432 of Service bank/sql carries no HTTP"),
        "{message}"
    );
}

#[test]
fn a_fallback_in_another_namespace_needs_a_grant_too() {
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: p, namespace: bank}\nspec:\n  \
         targetRefs: [{kind: Service, name: a}]\n  timeouts: {request: 2s, backendRequest: 500ms}\n  fallback: {backendRef: {name: b, namespace: other, port: 80}}\n";
    let compiled = compile(&world(&[&service("a"), OTHER, policy]));
    assert!(
        compiled.services[&named("bank/a")]
            .policy
            .fallback
            .is_none()
    );
    assert_eq!(compiled.findings[0].reason, Reason::RefNotPermitted);
    let allowed = grant("TrafficPolicy")
        .replace("gateway.networking.k8s.io, kind: Tr", "usher.dev, kind: Tr");
    let compiled = compile(&world(&[&service("a"), OTHER, policy, &allowed]));
    assert!(
        compiled.services[&named("bank/a")]
            .policy
            .fallback
            .is_some()
    );
}
