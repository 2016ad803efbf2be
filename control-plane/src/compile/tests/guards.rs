//! Who is let in and how often: whose policy holds where.

use usher_config::model::RateLimits;

use super::*;

fn policy(kind: &str, name: &str, target: &str, spec: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  \
         targetRefs: [{target}]\n{spec}"
    )
}

fn limits(name: &str, target: &str, requests: u32) -> String {
    let spec = format!("  limits: [{{name: l, requests: {requests}, per: 1s}}]\n");
    policy("RateLimitPolicy", name, target, &spec)
}

const NAMESPACE: &str = "{kind: Namespace, name: bank}";
const SERVICE: &str = "{kind: Service, name: a}";
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
";

fn route(parent: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: bank}}\nspec:\n  \
         parentRefs: [{parent}]\n  rules:\n  \
         - {{name: slow, backendRefs: [{{name: a, port: 8080}}], matches: [{{path: {{value: /slow}}}}]}}\n  \
         - {{name: rest, backendRefs: [{{name: a, port: 8080}}]}}\n"
    )
}

/// Policy, target, and whether it is on trial.
fn held(limits: &[RateLimits]) -> Vec<(&str, &str, bool)> {
    let limits = limits.iter();
    limits
        .map(|one| (&*one.policy, &*one.target, one.dry_run))
        .collect()
}

#[test]
fn of_a_service_and_its_namespace_the_narrower_holds_alone() {
    let compiled = compile(&world(&[
        &service("a"),
        &service("b"),
        &limits("ns", NAMESPACE, 10),
        &limits("svc", SERVICE, 5),
    ]));
    assert_eq!(compiled.findings, []);
    let inbound = |name: &str| held(&compiled.inbound[&named(name)].rate_limits);
    assert_eq!(inbound("bank/a"), [("bank/svc", "Service bank/a", false)]);
    assert_eq!(inbound("bank/b"), [("bank/ns", "namespace bank", false)]);
    let limit = &compiled.inbound[&named("bank/a")].rate_limits[0].limits[0];
    assert_eq!(
        (limit.requests, limit.burst, limit.keys_max),
        (5, 5, 10_000)
    );
}

#[test]
fn a_policy_on_trial_displaces_none() {
    let trial = limits("svc", SERVICE, 5).replace("  limits", "  dryRun: true\n  limits");
    let compiled = compile(&world(&[
        &service("a"),
        &limits("ns", NAMESPACE, 10),
        &trial,
    ]));
    assert_eq!(
        held(&compiled.inbound[&named("bank/a")].rate_limits),
        [
            ("bank/ns", "namespace bank", false),
            ("bank/svc", "Service bank/a", true)
        ]
    );
}

#[test]
fn a_gateways_holds_beside_those_of_routes_and_rules() {
    let compiled = compile(&world(&[
        &service("a"),
        EDGE,
        &route("{name: edge}"),
        &limits("edge", "{kind: Gateway, name: edge}", 100),
        &limits("all", "{kind: HTTPRoute, name: r}", 10),
        &limits("slow", "{kind: HTTPRoute, name: r, sectionName: slow}", 1),
    ]));
    assert_eq!(compiled.findings, []);
    let gateway = &compiled.gateways[&named("bank/edge")];
    assert_eq!(
        held(&gateway.rate_limits),
        [("bank/edge", "Gateway bank/edge", false)]
    );
    let of_routes: Vec<_> = gateway
        .route_limits
        .iter()
        .map(|(route, limits)| (&**route, &*limits.policy, &*limits.target))
        .collect();
    assert_eq!(
        of_routes,
        [
            ("HTTPRoute/bank/r/rest", "bank/all", "HTTPRoute bank/r"),
            (
                "HTTPRoute/bank/r/slow",
                "bank/slow",
                "rule slow of HTTPRoute bank/r"
            )
        ]
    );
    assert_eq!(held(&compiled.inbound[&named("bank/a")].rate_limits), []);
}

#[test]
fn a_routes_limits_without_a_gateway_are_reported() {
    let compiled = compile(&world(&[
        &service("a"),
        &route("{group: '', kind: Service, name: a}"),
        &limits("all", "{kind: HTTPRoute, name: r}", 10),
    ]));
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(finding.reason, Reason::NotEnforced);
    assert_eq!(finding.object.to_string(), "RateLimitPolicy bank/all");
}

#[test]
fn of_two_policies_for_one_target_the_older_holds() {
    let edge = "{kind: Gateway, name: edge}";
    let compiled = compile(&world(&[
        EDGE,
        &limits("one", edge, 1),
        &limits("two", edge, 2),
    ]));
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(finding.reason, Reason::Conflicted);
    assert_eq!(
        finding.message,
        "Gateway bank/edge is held by RateLimitPolicy bank/one, which is older"
    );
}

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fn tokens(name: &str, target: &str, mode: &str, jwks: &str) -> String {
    let spec = format!(
        "  mode: {mode}\n  jwt: [{{issuer: login, audiences: [bank], jwks: {jwks}, claimsToHeaders: [{{claim: sub, header: x-{name}}}]}}]\n"
    );
    policy("AuthenticationPolicy", name, target, &spec)
}

fn inline() -> String {
    format!("{{inline: '{JWKS}'}}")
}

#[test]
fn the_narrowest_says_whose_tokens_and_none_loosens() {
    let world = world(&[
        &service("a"),
        &service("b"),
        WORKLOADS,
        EDGE,
        &tokens("ns", NAMESPACE, "Required", &inline()),
        &tokens("svc", SERVICE, "Optional", &inline()),
    ]);
    let compiled = compile(&world);
    let reasons: Vec<_> = compiled.findings.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [Reason::Loosens]);
    let of = |name: &str| {
        compiled.inbound[&named(name)]
            .authentication
            .clone()
            .expect("held")
    };
    let (one, other) = (of("bank/a"), of("bank/b"));
    assert_eq!(
        (&*one.name, one.required, &*one.providers[0].issuer),
        ("bank/svc", true, "login")
    );
    assert_eq!((&*other.name, other.required), ("bank/ns", true));
    assert_eq!(one.providers[0].keys.len(), 1);
    // Whoever may write such headers is told to everybody who lets strangers in.
    let gateway = &compiled.gateways[&named("bank/edge")];
    assert_eq!(gateway.authentication, None);
    let names: Vec<&str> = gateway
        .claim_headers
        .iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["x-ns", "x-svc"]);
    let inbound = &compiled.inbound[&named("bank/b")];
    assert_eq!(inbound.claim_headers.len(), 2);
    let trusted: Vec<&str> = inbound.gateways.iter().map(SpiffeId::as_str).collect();
    assert_eq!(trusted, ["spiffe://usher.local/ns/bank/sa/edge"]);
}

#[test]
fn a_narrower_policy_believes_nobody_whom_the_wider_does_not() {
    let wide = tokens("ns", NAMESPACE, "Optional", &inline());
    let narrow = tokens("svc", SERVICE, "Required", &inline());
    let stranger = narrow.replace("issuer: login", "issuer: evil");
    let other_keys = tokens(
        "svc",
        SERVICE,
        "Required",
        "{uri: 'https://evil.test/keys'}",
    );
    let held = |narrow: &str, mesh: &str| {
        let compiled = compile(&world(&[&service("a"), &wide, narrow, mesh]));
        let loosens = compiled
            .findings
            .iter()
            .filter(|one| one.reason == Reason::Loosens);
        let one = compiled.inbound[&named("bank/a")]
            .authentication
            .clone()
            .expect("held");
        assert!(one.required, "stricter is what it may be");
        (
            one.name.to_string(),
            one.providers[0].issuer.to_string(),
            loosens.count(),
        )
    };
    let mesh = |spec: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: mesh}}\nspec: {spec}\n"
        )
    };
    let of = |name: &str, issuer: &str, loosens| (name.to_owned(), issuer.to_owned(), loosens);
    assert_eq!(held(&narrow, &mesh("{}")), of("bank/svc", "login", 0));
    for one in [&stranger, &other_keys] {
        assert_eq!(held(one, &mesh("{}")), of("bank/ns", "login", 1));
    }
    let allowed = mesh("{allowLoosening: true}");
    assert_eq!(held(&stranger, &allowed), of("bank/svc", "evil", 0));
}

#[test]
fn keys_that_are_not_fetched_yet_are_none_and_reported() {
    let uri = "https://login.test/keys";
    let source = format!("{{uri: '{uri}', refreshInterval: 1m}}");
    let mut world = world(&[&service("a"), &tokens("svc", SERVICE, "Required", &source)]);
    let compiled = compile(&world);
    assert_eq!(compiled.findings[0].reason, Reason::NoKeys);
    let every: Vec<_> = compiled.key_sources.values().collect();
    assert_eq!(every, [&Duration::from_secs(60)]);
    let keys = |compiled: &Compiled| {
        let inbound = &compiled.inbound[&named("bank/a")];
        inbound.authentication.as_ref().expect("held").providers[0]
            .keys
            .len()
    };
    assert_eq!(keys(&compiled), 0);
    world
        .keys
        .insert(uri.parse().expect("valid"), JWKS.parse().expect("valid"));
    let compiled = compile(&world);
    assert_eq!((keys(&compiled), compiled.findings.len()), (1, 0));
}

#[test]
fn a_route_says_more_than_its_gateway() {
    let compiled = compile(&world(&[
        &service("a"),
        EDGE,
        &route("{name: edge}"),
        &tokens("edge", "{kind: Gateway, name: edge}", "Optional", &inline()),
        &tokens(
            "slow",
            "{kind: HTTPRoute, name: r, sectionName: slow}",
            "Required",
            &inline(),
        ),
    ]));
    assert_eq!(compiled.findings, []);
    let gateway = &compiled.gateways[&named("bank/edge")];
    let of_all = gateway.authentication.as_ref().expect("held");
    assert_eq!((&*of_all.name, of_all.required), ("bank/edge", false));
    let [(route, one)] = &gateway.route_authentication[..] else {
        panic!("{:?}", gateway.route_authentication)
    };
    assert_eq!(
        (&**route, &*one.name, one.required),
        ("HTTPRoute/bank/r/slow", "bank/slow", true)
    );
}

#[test]
fn a_policy_that_never_was_valid_closes_its_gateway() {
    let open = world(&[&service("a"), EDGE, &route("{name: edge}")]);
    let broken = tokens(
        "edge",
        "{kind: Gateway, name: edge}",
        "Sometimes",
        &inline(),
    );
    let mut files = [
        ("0.yaml".into(), service("a")),
        ("1.yaml".into(), EDGE.to_owned()),
        ("2.yaml".into(), route("{name: edge}")),
        ("3.yaml".into(), broken),
    ];
    let reading = open.read(&parse_files(&files), Path::new(""), SystemTime::UNIX_EPOCH);
    let world = reading.world;
    let closed = |world: &World| {
        let compiled = compile(world);
        let gateway = &compiled.gateways[&named("bank/edge")];
        let authentication = gateway.authentication.as_ref();
        authentication.is_some_and(|one| one.invalid && one.required)
    };
    assert!(closed(&world));
    // Nor does a target that nobody can read leave it open.
    files[3].1 = tokens("edge", "{kind: Gatway, name: edge}", "Required", &inline());
    let reading = open.read(&parse_files(&files), Path::new(""), SystemTime::UNIX_EPOCH);
    assert!(closed(&reading.world) && !closed(&open));
}
