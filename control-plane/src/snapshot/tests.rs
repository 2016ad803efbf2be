//! Versions follow content; bursts end.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use prost::Message as _;
use usher_config::{model::Revision, parse::parse_files, wire::v1};

use super::*;
use crate::{
    compile::{Compiled, compile},
    registry::World,
};

#[test]
fn a_version_is_the_content_and_nothing_else() {
    let revision = |number| {
        Resource::encode(&v1::Revision {
            number,
            digest: "x".into(),
        })
    };
    assert_eq!(revision(1), revision(1));
    assert_ne!(revision(1).version, revision(2).version);
    assert_eq!(revision(1).version.len(), 32);
}

#[test]
fn a_burst_ends_when_it_is_quiet_or_has_lasted_long_enough() {
    let (mut burst, start) = (Debounce::default(), Instant::now());
    assert_eq!(burst.due(), None);
    burst.changed(start);
    assert_eq!(burst.due(), Some(start + Duration::from_millis(10)));
    for millis in 1..=200 {
        burst.changed(start + Duration::from_millis(millis));
    }
    assert_eq!(burst.due(), Some(start + Duration::from_millis(100)));
    burst.done();
    assert_eq!(burst.due(), None);
}

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: { name: a, namespace: bank }
spec: { selector: { app: a }, ports: [{ port: 8080 }] }
";

const POLICY: &str = "\
apiVersion: v1
kind: Service
metadata: { name: a, namespace: bank }
spec: { selector: { app: a }, ports: [{ port: 8080 }] }
---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: { name: login, namespace: bank }
spec:
  targetRefs: [{ kind: Service, name: a }]
  mode: Required
  jwt: [{ issuer: i, audiences: [a], jwks: { uri: 'https://login.test/keys' } }]
";

fn compiled(texts: &[&str]) -> Compiled {
    let world = World::default();
    let files = parse_files(&[("a.yaml".into(), texts.join("---\n"))]);
    let read = world.read(&files, Path::new(""), SystemTime::UNIX_EPOCH);
    assert_eq!(read.rejected, [], "the test's own YAML");
    compile(&read.world)
}

fn revision() -> Revision {
    Revision {
        number: 1,
        digest: String::new(),
    }
}

fn configured(texts: &[&str]) -> Configured {
    Configured::new(&compiled(texts), revision(), None)
}

const LIMITS: &str = "\
apiVersion: usher.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: all, namespace: bank }
spec: { targetRefs: [{ kind: Service, name: a }], limits: [{ name: all, requests: 1, per: 1s }] }
";

#[test]
fn what_a_sidecar_is_too_old_to_guard_it_lets_nobody_into() {
    let optional = POLICY.replace("Required", "Optional");
    let limited = format!("{SERVICE}---\n{LIMITS}");
    for guarded in [POLICY, &optional, &limited] {
        let configured = configured(&[guarded]);
        let told = |understands| {
            let old = configured.for_old.inbound("bank/a", understands);
            let told = old.map_or(&configured.inbound["bank/a"], |(_, resource)| resource);
            let policy = v1::InboundPolicy::decode(told.body.clone()).expect("ours");
            policy.access.iter().any(|access| access.invalid)
        };
        assert!(told(Understands::Access), "{guarded}");
        assert!(!told(Understands::Guards) && !told(Understands::Claims));
    }
    let trial = LIMITS.replace("limits:", "dryRun: true, limits:");
    let unguarded = configured(&[SERVICE, &trial]);
    assert!(unguarded.for_old.closed.is_empty());
}

const SHOP: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: bank }
spec: { gatewayClassName: usher, listeners: [{ name: web, port: 80, protocol: HTTP }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: bank }
spec:
  parentRefs: [{ name: edge }]
  rules:
  - { name: orders, backendRefs: [{ name: a, port: 8080 }], matches: [{ path: { value: /orders } }] }
  - { name: rest, backendRefs: [{ name: a, port: 8080 }] }
";

/// The backends of each route of the gateway, as an old one is told; `None`: what all are told.
fn told_old(texts: &[&str]) -> Option<Vec<(String, usize)>> {
    let configured = configured(texts);
    assert!(
        configured
            .for_old
            .gateway("bank/edge", Understands::Guards)
            .is_none()
    );
    let told = configured
        .for_old
        .gateway("bank/edge", Understands::Access)?;
    let gateway = v1::Gateway::decode(told.1.body.clone()).expect("ours");
    let gateway = usher_config::model::Gateway::try_from(gateway).expect("whole");
    let routes = gateway.listeners[0].routes.iter();
    let route = |one: &usher_config::model::GatewayRoute| {
        let rule = one.route.name.rsplit('/').next().expect("a rule");
        (rule.to_owned(), one.route.backends.len())
    };
    Some(routes.map(route).collect())
}

#[test]
fn what_a_gateway_is_too_old_to_guard_it_leads_nowhere_and_to_no_other_route() {
    let all = [("orders".to_owned(), 0), ("rest".to_owned(), 0)];
    let orders = [("orders".to_owned(), 0), ("rest".to_owned(), 1)];
    let login = POLICY.strip_prefix(SERVICE).expect("the service first");
    let login = login.trim_start_matches("---\n");
    let to = |text: &str, target: &str| text.replace("{ kind: Service, name: a }", target);
    let rule = "{ kind: HTTPRoute, name: shop, sectionName: orders }";
    let gateway = "{ kind: Gateway, name: edge }";
    assert_eq!(told_old(&[SERVICE, SHOP]), None);
    for (policy, closed) in [
        (to(login, gateway), &all),
        (to(LIMITS, gateway), &all),
        (to(login, rule), &orders),
        (to(LIMITS, rule), &orders),
    ] {
        let told = told_old(&[SERVICE, SHOP, &policy]);
        assert_eq!(told.as_deref(), Some(&closed[..]), "{policy}");
    }
    // Whoever takes no claims from strangers passes on what they make up.
    let claims = login.replace(
        "audiences: [a]",
        "audiences: [a], claimsToHeaders: [{ claim: sub, header: x-user }]",
    );
    let told = told_old(&[SERVICE, SHOP, &claims]);
    assert_eq!(told.as_deref(), Some(&all[..]));
}

#[test]
fn a_rule_about_claims_is_no_rule_for_who_looks_at_no_claims() {
    let access = "\
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: { name: a, namespace: bank }
spec:
  targetRefs: [{ kind: Service, name: a }]
  rules: [{ to: { paths: [/open] } }, { from: { claims: [{ claim: groups, values: [admin] }] } }]
";
    let configured = configured(&[POLICY, access]);
    let rules = |understands| {
        let old = configured.for_old.inbound("bank/a", understands);
        let told = old.map_or(&configured.inbound["bank/a"], |(_, resource)| resource);
        let policy = v1::InboundPolicy::decode(told.body.clone()).expect("ours");
        policy.access[0].rules.len()
    };
    assert_eq!(rules(Understands::Claims), 2);
    assert_eq!(rules(Understands::Guards), 1);
}

#[test]
fn what_an_edit_leaves_as_it_was_is_not_encoded_again_and_what_it_changes_is() {
    let other = SERVICE.replace("name: a,", "name: b,");
    let edited = other.replace("8080", "8081");
    let before = compiled(&[SERVICE, &other]);
    let known = Configured::new(&before, revision(), None);
    for texts in [
        [SERVICE, other.as_str()].as_slice(),
        &[SERVICE, &edited],
        &[&edited],
        &[POLICY, &edited],
        &[SHOP, SERVICE, &other],
    ] {
        let after = compiled(texts);
        let again = Configured::new(&after, revision(), Some((&before, &known)));
        let anew = Configured::new(&after, revision(), None);
        assert_eq!(again, anew, "{texts:?}");
        let kept = |name: &str| {
            let versions = [&known, &again].map(|of| of.services.get(name).map(|one| &one.version));
            matches!(versions, [Some(old), Some(new)] if Arc::ptr_eq(old, new))
        };
        assert_eq!(kept("bank/a"), texts.len() > 1, "{texts:?}");
        assert_eq!(kept("bank/b"), texts.contains(&other.as_str()), "{texts:?}");
    }
}
