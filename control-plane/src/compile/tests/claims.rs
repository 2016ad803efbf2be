//! Tokens and what they claim: where they are looked for, and who may write what they say into a header.

use usher_config::model::{Authentication, TokenFrom};

use super::*;

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec: {gatewayClassName: usher, listeners: [{name: web, port: 80, protocol: HTTP}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: edge, namespace: bank}
spec: {serviceAccount: edge}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: bank}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {name: orders, backendRefs: [{name: a, port: 8080}], matches: [{path: {value: /orders}}]}
";

/// `from` is what a provider says beside issuer, audience and keys.
fn tokens(name: &str, target: &str, from: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  \
         targetRefs: [{target}]\n  jwt: [{{issuer: login, audiences: [bank], jwks: {{inline: '{JWKS}'}}{from}}}]\n"
    )
}

const RULE: &str = "{kind: HTTPRoute, name: r, sectionName: orders}";

/// What holds for the rule, under a gateway whose policy has tokens in the cookie `session`.
fn of_rule(from: &str) -> Authentication {
    let compiled = compile(&world(&[
        &service("a"),
        EDGE,
        &tokens(
            "edge",
            "{kind: Gateway, name: edge}",
            ", from: {cookie: session}",
        ),
        &tokens("orders", RULE, from),
    ]));
    assert_eq!(compiled.findings, []);
    let gateway = &compiled.gateways[&named("bank/edge")];
    gateway.route_authentication[0].1.clone()
}

#[test]
fn a_rule_that_does_not_say_where_tokens_are_has_them_where_its_gateway_has() {
    let inherited = of_rule("");
    assert_eq!(&*inherited.name, "bank/orders");
    let session = TokenFrom::Cookie("session".into());
    assert_eq!(inherited.providers[0].from, session);
    assert_eq!(inherited.stripped, []);
}

#[test]
fn where_only_the_gateway_looks_for_tokens_they_are_taken_out_at_the_rule() {
    let own = of_rule(", from: {header: x-token}");
    let header = TokenFrom::Header(http::HeaderName::from_static("x-token"));
    assert_eq!(own.providers[0].from, header);
    assert_eq!(own.stripped, [TokenFrom::Cookie("session".into())]);
}

#[test]
fn where_a_policy_without_effect_looks_for_tokens_they_are_taken_out() {
    let wide = tokens("ns", "{kind: Namespace, name: bank}", "");
    let stranger = tokens(
        "svc",
        "{kind: Service, name: a}",
        ", from: {cookie: session}",
    );
    let stranger = stranger.replace("issuer: login", "issuer: evil");
    let compiled = compile(&world(&[&service("a"), &wide, &stranger]));
    let inbound = &compiled.inbound[&named("bank/a")];
    let held = inbound.authentication.as_ref().expect("held");
    assert_eq!(held.providers[0].from, TokenFrom::Bearer);
    assert_eq!(held.stripped, [TokenFrom::Cookie("session".into())]);
    let message = &compiled.findings[0].message;
    assert!(
        message.contains("cookie `session` is taken out"),
        "{message}"
    );
}

#[test]
fn a_policy_without_effect_takes_away_no_bearer_tokens_of_which_it_does_not_speak() {
    let session = ", from: {cookie: session}";
    let wide = tokens("ns", "{kind: Namespace, name: bank}", session);
    let stranger = tokens("svc", "{kind: Service, name: a}", "");
    let stranger = stranger.replace("issuer: login", "issuer: evil");
    let compiled = compile(&world(&[&service("a"), &wide, &stranger]));
    let inbound = &compiled.inbound[&named("bank/a")];
    let held = inbound.authentication.as_ref().expect("held");
    assert_eq!(held.stripped, [], "the application's own");
    let message = &compiled.findings[0].message;
    assert!(!message.contains("taken out"), "{message}");
}

#[test]
fn rules_about_claims_that_nobody_verifies_are_one_finding_for_the_mesh() {
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: all, namespace: usher-system}\n\
                  spec: {targetRefs: [{kind: Mesh, name: mesh}], rules: [{from: {claims: [{claim: role, values: [teller]}]}}]}\n";
    let services = ["a", "b", "c", "d", "e", "f", "g"].map(service);
    let mesh = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {}\n";
    let mut documents: Vec<&str> = services.iter().map(|text| &**text).collect();
    documents.extend([policy, mesh]);
    let compiled = compile(&world(&documents));
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(finding.reason, Reason::NotEnforced);
    assert!(
        finding.message.contains("Service bank/a, ")
            && finding.message.contains("Service bank/e and 2 more:"),
        "{}",
        finding.message
    );
}

#[test]
fn a_header_with_claims_of_another_namespaces_issuer_is_reported() {
    let claims = |namespace: &str, header: &str, issuer: &str| {
        let text = tokens(
            "login",
            "{kind: Namespace, name: bank}",
            &format!(", claimsToHeaders: [{{claim: sub, header: {header}}}]"),
        );
        text.replace("bank", namespace)
            .replace("issuer: login", &format!("issuer: {issuer}"))
    };
    let found = |other: &str| {
        let first = claims("bank", "x-user", "login");
        let compiled = compile(&world(&[&first, other]));
        let findings = compiled.findings.into_iter();
        let shared = findings.filter(|one| one.reason == Reason::SharedHeader);
        shared.collect::<Vec<_>>()
    };
    for header in ["x-user", "x_user"] {
        let shared = found(&claims("shop", header, "other"));
        let [finding] = &shared[..] else {
            panic!("{shared:?}")
        };
        assert_eq!(
            finding.object.to_string(),
            "AuthenticationPolicy shop/login"
        );
        assert!(
            finding.message.contains("AuthenticationPolicy bank/login"),
            "{}",
            finding.message
        );
    }
    assert_eq!(found(&claims("shop", "x-user", "login")), [], "one issuer");
    assert_eq!(found(&claims("shop", "x-shopper", "other")), []);
}

#[test]
fn no_filter_of_a_route_writes_what_only_verified_claims_may() {
    let filter = "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X_User, value: root}, \
                  {name: x-own, value: kept}], add: [{name: x-user, value: root}]}}]";
    let edge = EDGE.replace("{name: orders,", &format!("{{name: orders, {filter},"));
    let login = tokens(
        "login",
        "{kind: Gateway, name: edge}",
        ", claimsToHeaders: [{claim: sub, header: x-user}]",
    );
    let compiled = compile(&world(&[&service("a"), &edge, &login]));
    let route = &compiled.gateways[&named("bank/edge")].listeners[0].routes[0].route;
    let edits = &route.filters.as_ref().expect("filters").request;
    let set: Vec<&str> = edits.set.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((set, edits.add.len()), (vec!["x-own"], 0));
    let told = compiled.findings.iter();
    let told = told.filter(|one| one.reason == Reason::NotEnforced);
    assert_eq!(told.count(), 2, "{:?}", compiled.findings);
}

#[test]
fn rules_about_claims_that_nobody_verifies_are_reported() {
    let access = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: admins, namespace: bank}\nspec:\n  \
        targetRefs: [{kind: Service, name: a}]\n  rules: [{from: {claims: [{claim: groups, values: [admin]}]}}]\n";
    let alone = compile(&world(&[&service("a"), access]));
    let [finding] = &alone.findings[..] else {
        panic!("{:?}", alone.findings)
    };
    assert_eq!(finding.object.to_string(), "AccessPolicy bank/admins");
    assert_eq!(finding.reason, Reason::NotEnforced);
    let login = tokens("login", "{kind: Namespace, name: bank}", "");
    let verified = compile(&world(&[&service("a"), access, &login]));
    assert_eq!(verified.findings, []);
    let rule = &verified.inbound[&named("bank/a")].access[0].rules[0];
    assert_eq!(&*rule.claims[0].claim, "groups");
    assert_eq!(rule.claims[0].values, ["admin"]);
}
