//! Policies show through field by field, and security only tightens.

use usher_config::model::{Algorithm, FallbackTarget, MtlsMode, PathRule};

use super::*;

fn traffic(name: &str, target: &str, spec: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: {name}, namespace: {}}}\nspec:\n  \
         targetRefs: [{target}]\n{spec}",
        home(target)
    )
}

fn access(name: &str, target: &str, spec: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: {name}, namespace: {}}}\nspec:\n  \
         targetRefs: [{target}]\n{spec}",
        home(target)
    )
}

fn home(target: &str) -> &'static str {
    if target == MESH {
        "usher-system"
    } else {
        "bank"
    }
}

const MESH: &str = "{kind: Mesh, name: mesh}";
const MESH_OBJECT: &str =
    "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {}\n";
const NAMESPACE: &str = "{kind: Namespace, name: bank}";
const SERVICE: &str = "{kind: Service, name: a}";
const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: a}]
  rules:
  - name: slow
    matches: [{path: {value: /slow}}]
    timeouts: {request: 60s}
    retry: {attempts: 4}
    backendRefs: [{name: a, port: 8080}]
  - name: fast
    backendRefs: [{name: a, port: 8080}]
";

/// A policy at every width.
fn at_every_width() -> [String; 7] {
    [
        MESH_OBJECT.to_owned(),
        service("a"),
        ROUTE.to_owned(),
        traffic(
            "wide",
            MESH,
            "  timeouts: {request: 9s, connect: 2s}\n  limits: {maxConnections: 10}\n",
        ),
        traffic(
            "ns",
            NAMESPACE,
            "  timeouts: {request: 8s}\n  loadBalancer: {algorithm: RoundRobin}\n",
        ),
        traffic(
            "svc",
            SERVICE,
            "  timeouts: {idle: 0s}\n  breaker: {minRequests: 5}\n",
        ),
        traffic(
            "rule",
            "{kind: HTTPRoute, name: r, sectionName: fast}",
            "  timeouts: {request: 1s}\n",
        ),
    ]
}

#[test]
fn each_field_is_the_narrowest_that_says_something() {
    let texts = at_every_width();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let compiled = compile(&world(&texts));
    assert_eq!(compiled.findings, []);
    let service = &compiled.services[&named("bank/a")];
    let policy = &service.policy;
    assert_eq!(&*policy.name, "bank/svc");
    assert_eq!(
        policy.timeouts.request,
        Some(Duration::from_secs(8)),
        "namespace"
    );
    assert!(policy.timeouts.request_is_explicit);
    assert_eq!(policy.timeouts.connect, Duration::from_secs(2), "mesh");
    assert_eq!(policy.timeouts.idle, None, "service, 0s is unlimited");
    assert_eq!(policy.limits.max_connections, 10);
    assert_eq!(policy.limits.max_pending_requests, 1024, "default");
    assert_eq!(policy.load_balancer.algorithm, Algorithm::RoundRobin);
    let breaker = policy.breaker.as_ref().expect("written");
    assert_eq!((breaker.min_requests, breaker.half_open_permits), (5, 3));

    let [slow, fast] = &service.routes[..] else {
        panic!("two routes")
    };
    assert_eq!(
        (&*slow.policy.name, &*fast.policy.name),
        ("bank/r", "bank/rule")
    );
    assert_eq!(
        slow.policy.timeouts.request,
        Some(Duration::from_secs(60)),
        "the rule itself"
    );
    assert_eq!(
        (slow.policy.retry.attempts, fast.policy.retry.attempts),
        (4, 2)
    );
    assert_eq!(
        fast.policy.timeouts.request,
        Some(Duration::from_secs(1)),
        "the rule's policy"
    );
    assert!(
        fast.policy.breaker.is_some(),
        "what nobody narrower mentions shows through"
    );
}

#[test]
fn what_nobody_says_is_the_models_default() {
    let compiled = compile(&world(&[&service("a")]));
    let policy = &compiled.services[&named("bank/a")].policy;
    assert_eq!(**policy, usher_config::model::TrafficPolicy::default());
}

#[test]
fn the_earlier_of_two_policies_on_a_target_holds_it() {
    let early = traffic("z-early", SERVICE, "  timeouts: {request: 1s}\n");
    let late = traffic(
        "a-late",
        &format!("{SERVICE}, {NAMESPACE}"),
        "  timeouts: {request: 2s}\n",
    );
    let compiled = compile(&world(&[&service("a"), &service("b"), &early, &late]));
    assert_eq!(
        &*compiled.services[&named("bank/a")].policy.name,
        "bank/z-early"
    );
    assert_eq!(
        &*compiled.services[&named("bank/b")].policy.name,
        "bank/a-late",
        "its other target is its own"
    );
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(
        (finding.reason, finding.object.name.as_str()),
        (Reason::Conflicted, "a-late")
    );
    assert!(finding.message.contains("bank/z-early"));
}

#[test]
fn a_fallback_is_resolved_from_its_own_policys_namespace_and_dropped_if_it_is_not_there() {
    let good = traffic(
        "wide",
        NAMESPACE,
        "  fallback: {backendRef: {name: b, port: 50051}}\n",
    );
    let compiled = compile(&world(&[&service("a"), &service("b"), &good]));
    let fallback = compiled.services[&named("bank/a")]
        .policy
        .fallback
        .clone()
        .expect("there");
    assert!(
        fallback.on_open
            && fallback.on_no_endpoint
            && !fallback.on_exhausted
            && !fallback.repeatable
    );
    assert!(
        matches!(fallback.target, FallbackTarget::Service(target) if target.service == named("bank/b"))
    );

    let compiled = compile(&world(&[&service("a"), &good]));
    assert_eq!(compiled.services[&named("bank/a")].policy.fallback, None);
    assert_eq!(compiled.findings[0].reason, Reason::RefNotResolved);
}

#[test]
fn a_baseline_that_denies_is_opened_by_rules_and_never_by_a_narrower_allow() {
    let baseline = access("baseline", MESH, "  defaultAction: Deny\n");
    let rules = access(
        "rules",
        SERVICE,
        "  defaultAction: Allow\n  rules: [{from: {serviceAccounts: [teller]}, to: {paths: [/v1/*], methods: [GET]}}]\n",
    );
    let compiled = compile(&world(&[
        MESH_OBJECT,
        &service("a"),
        &service("b"),
        &baseline,
        &rules,
    ]));
    let [policy] = &compiled.inbound[&named("bank/a")].access[..] else {
        panic!("one")
    };
    assert!(policy.deny_by_default, "loosening is not allowed");
    assert_eq!(&*policy.name, "bank/rules");
    assert_eq!(policy.rules[0].paths, [PathRule::Prefix("/v1/".into())]);
    assert_eq!(policy.rules[0].service_accounts[0].0.as_str(), "bank");
    assert_eq!(compiled.findings[0].reason, Reason::Loosens);
    let [policy] = &compiled.inbound[&named("bank/b")].access[..] else {
        panic!("one")
    };
    assert!(
        policy.deny_by_default && policy.rules.is_empty(),
        "nobody is let in where nobody is named"
    );

    let mesh = MESH_OBJECT.replace("spec: {}", "spec: {allowLoosening: true}");
    let compiled = compile(&world(&[&mesh, &service("a"), &baseline, &rules]));
    assert!(!compiled.inbound[&named("bank/a")].access[0].deny_by_default);
    assert_eq!(compiled.findings, []);
}

#[test]
fn mutual_tls_is_strict_unless_somebody_may_say_otherwise() {
    let mode = |mesh: &str, narrow: &str| {
        let mesh = MESH_OBJECT.replace("spec: {}", &format!("spec: {{{mesh}}}"));
        let narrow = access("p", SERVICE, &format!("  defaultAction: Allow\n{narrow}"));
        compile(&world(&[&mesh, &service("a"), &narrow])).inbound[&named("bank/a")].mtls
    };
    let permissive = "  mtls: {mode: Permissive}\n";
    let strict = "  mtls: {mode: Strict}\n";
    assert_eq!(mode("", ""), MtlsMode::Strict);
    assert_eq!(mode("mtls: {mode: Permissive}", ""), MtlsMode::Permissive);
    assert_eq!(mode("mtls: {mode: Permissive}", strict), MtlsMode::Strict);
    assert_eq!(mode("mtls: {mode: Strict}", permissive), MtlsMode::Strict);
    assert_eq!(
        mode("mtls: {mode: Strict}, allowLoosening: true", permissive),
        MtlsMode::Permissive
    );
}

#[test]
fn a_policy_on_trial_changes_nothing_that_is_enforced() {
    let wide = access(
        "wide",
        NAMESPACE,
        "  rules: [{from: {serviceAccounts: [teller]}}]\n",
    );
    let trial = access(
        "trial",
        SERVICE,
        "  dryRun: true\n  rules: [{from: {serviceAccounts: [nobody]}}]\n",
    );
    let compiled = compile(&world(&[&service("a"), &wide, &trial]));
    let [enforced, logged] = &compiled.inbound[&named("bank/a")].access[..] else {
        panic!("two")
    };
    assert_eq!((&*enforced.name, enforced.dry_run), ("bank/wide", false));
    assert_eq!((&*logged.name, logged.dry_run), ("bank/trial", true));
}

#[test]
fn a_policy_that_never_was_valid_denies_at_its_target() {
    let mut world = world(&[&service("a"), &service("b")]);
    let key = ObjectKey {
        kind: usher_config::kind::Kind::AccessPolicy,
        namespace: "bank".parse().expect("valid"),
        name: "broken".parse().expect("valid"),
    };
    let target = usher_config::kind::TargetRef {
        kind: usher_config::kind::TargetKind::Service,
        name: "a".parse().expect("valid"),
        section_name: None,
    };
    let denied = crate::registry::Denied {
        targets: vec![target],
        file: "p.yaml".into(),
    };
    world.denied.insert(key, denied);
    let compiled = compile(&world);
    let [policy] = &compiled.inbound[&named("bank/a")].access[..] else {
        panic!("one")
    };
    assert!(policy.invalid && policy.deny_by_default);
    assert!(compiled.inbound[&named("bank/b")].access.is_empty());
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(finding.reason, Reason::Denies);
    assert!(finding.message.contains("Service bank/a"), "{finding:?}");
}

#[test]
fn a_first_policy_whose_targets_cannot_be_read_closes_its_namespace() {
    let broken = access(
        "broken",
        "{kind: Servce, name: a}",
        "  defaultAction: Allow\n",
    );
    let files = [
        ("a.yaml".into(), service("a")),
        (
            "c.yaml".into(),
            service("c").replace("namespace: bank", "namespace: shop"),
        ),
        ("p.yaml".into(), broken),
    ];
    let reading =
        World::default().read(&parse_files(&files), Path::new(""), SystemTime::UNIX_EPOCH);
    let compiled = compile(&reading.world);
    let [policy] = &compiled.inbound[&named("bank/a")].access[..] else {
        panic!("closed")
    };
    assert!(policy.invalid && policy.deny_by_default && policy.rules.is_empty());
    assert!(compiled.inbound[&named("shop/c")].access.is_empty());
    assert_eq!(compiled.findings[0].reason, Reason::Denies);
}

#[test]
fn a_fallback_for_which_a_slow_primary_leaves_no_time_is_reported() {
    let reasons = |timeouts: &str, when: &str| {
        let spec =
            format!("  timeouts: {timeouts}\n  fallback: {{when: [{when}], response: {{}}}}\n");
        let policy = traffic("p", SERVICE, &spec);
        let texts = [service("a"), ROUTE.to_owned(), policy];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let findings = compile(&world(&texts)).findings;
        findings
            .iter()
            .map(|finding| (finding.reason, finding.object.name.to_string()))
            .collect::<Vec<_>>()
    };
    let late = (Reason::LateFallback, "p".to_owned());
    let of_the_service_and_of_the_slow_rule = vec![late.clone(), late.clone()];
    assert_eq!(
        reasons("{}", "Exhausted"),
        of_the_service_and_of_the_slow_rule
    );
    assert_eq!(
        reasons("{request: 2s, backendRequest: 2s}", "Exhausted"),
        [late],
        "the slow rule has 60s for both"
    );
    assert_eq!(
        reasons("{request: 3s, backendRequest: 1s}", "Exhausted"),
        []
    );
    assert_eq!(
        reasons("{}", "Open, NoEndpoint"),
        [],
        "nobody was waited for"
    );
}

#[test]
fn the_services_own_sidecar_hears_how_long_streams_may_idle() {
    let policy = traffic("svc", SERVICE, "  timeouts: {idle: 7s}\n");
    let compiled = compile(&world(&[MESH_OBJECT, &service("a"), &policy]));
    let inbound = &compiled.inbound[&named("bank/a")];
    assert_eq!(inbound.idle, Some(Duration::from_secs(7)));
}
