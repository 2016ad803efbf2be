//! Who is named, and for which Service.

use std::{path::Path, time::SystemTime};

use usher_config::parse::parse_files;

use super::*;
use crate::{
    compile::compile,
    registry::{World, store::Stored},
};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec: { selector: { app: front }, ports: [{ name: sql, port: 5432, appProtocol: tcp }] }
---
apiVersion: v1
kind: Service
metadata: { name: plain, namespace: shop }
spec: { selector: { app: plain }, ports: [{ name: sql, port: 5432, appProtocol: tcp }] }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: ours, namespace: bank }
spec:
  parentRefs: [{ group: '', kind: Service, name: front, namespace: shop }]
  rules: [{ backendRefs: [{ name: front, namespace: shop, port: 5432 }] }]
";

#[test]
fn a_sidecar_that_ignores_a_services_routes_is_named_if_they_are_for_it() {
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    let (world, _) = World::restored(&Stored::default());
    let world = world.read(&parsed, Path::new(""), SystemTime::now()).world;
    let proxy = |node: &str, ignores: &[&str]| ProxyReport {
        node: node.to_owned(),
        ignores_streams_of: ignores.iter().map(|&name| name.to_owned()).collect(),
        ..ProxyReport::default()
    };
    let gateway = ProxyReport {
        is_gateway: true,
        ..proxy("bank/edge/i4", &["shop/front"])
    };
    let found = outdated(
        &compile(&world),
        &[
            proxy("bank/old/i1", &["shop/front", "shop/plain"]),
            proxy("bank/new/i2", &[]),
            // The route is for callers in `bank`.
            proxy("shop/old/i3", &["shop/front"]),
            gateway,
        ],
    );
    let [one] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (one.object.as_str(), one.reason.as_str()),
        ("Service shop/front", "NotFollowed")
    );
    assert!(
        one.message.contains("not followed by bank/old/i1: too old"),
        "{one:?}"
    );
}

const GUARDED: &str = "\
apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec: { selector: { app: front }, ports: [{ name: web, port: 80, appProtocol: http }] }
---
apiVersion: usher.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: front, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: front }]
  limits: [{ name: all, requests: 1, per: 1s }]
";

#[test]
fn a_sidecar_that_enforces_no_limits_is_named_if_it_should() {
    let parsed = parse_files(&[("mesh.yaml".into(), GUARDED.to_owned())]);
    let (world, _) = World::restored(&Stored::default());
    let world = world.read(&parsed, Path::new(""), SystemTime::now()).world;
    let proxy = |node: &str, ignores_guards| ProxyReport {
        node: node.to_owned(),
        ignores_guards,
        ..ProxyReport::default()
    };
    let proxies = [
        proxy("shop/front/old", true),
        proxy("shop/front/new", false),
        proxy("shop/other/old", true),
    ];
    let found = outdated(&compile(&world), &proxies);
    let [one] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (one.object.as_str(), one.reason.as_str()),
        ("Service shop/front", "NotEnforced")
    );
    assert!(
        one.message.contains("by shop/front/old: too old"),
        "{one:?}"
    );
}

fn compiled(text: &str) -> Compiled {
    let parsed = parse_files(&[("mesh.yaml".into(), text.to_owned())]);
    let reading = World::default().read(&parsed, Path::new(""), SystemTime::now());
    assert_eq!(reading.rejected, []);
    compile(&reading.world)
}

#[test]
fn a_limit_on_trial_is_nobodys_loss() {
    let trial = GUARDED.replace("  limits:", "  dryRun: true\n  limits:");
    let old = ProxyReport {
        node: "shop/front/old".to_owned(),
        ignores_guards: true,
        ..ProxyReport::default()
    };
    assert_eq!(outdated(&compiled(&trial), &[old]), []);
}

#[test]
fn a_sidecar_that_knows_no_rules_about_claims_is_named_if_there_are_some() {
    let services = GUARDED.split("---").next().expect("a Service");
    let policy = format!(
        "{services}---\napiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: front, namespace: shop }}\n\
         spec: {{ targetRefs: [{{ kind: Service, name: front }}], rules: [{{ from: {{ claims: [{{ claim: role, values: [admin] }}] }} }}] }}\n"
    );
    let old = |ignores_claims| ProxyReport {
        node: "shop/front/old".to_owned(),
        ignores_claims,
        ..ProxyReport::default()
    };
    let found = outdated(&compiled(&policy), &[old(true)]);
    let [one] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (one.object.as_str(), one.reason.as_str()),
        ("Service shop/front", "NotEnforced")
    );
    assert!(
        one.message.contains("by shop/front/old") || one.message.contains("to shop/front/old"),
        "{one:?}"
    );
    assert_eq!(outdated(&compiled(&policy), &[old(false)]), []);
    assert_eq!(outdated(&compiled(GUARDED), &[old(true)]), []);
}
