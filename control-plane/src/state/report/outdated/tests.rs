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
