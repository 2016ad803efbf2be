//! Who is named.

use std::{path::Path, time::SystemTime};

use usher_config::parse::parse_files;

use super::*;
use crate::{
    compile::compile,
    registry::{World, store::Stored},
};

const MESH: &str = "\
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: web, namespace: shop }
spec: { serviceAccount: web }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: edge, namespace: shop }
spec: { serviceAccount: edge }
";

fn proxy(instance: &str, account: &str, is_gateway: bool) -> ProxyReport {
    ProxyReport {
        node: format!("shop/{instance}"),
        identity: format!("spiffe://usher.local/ns/shop/sa/{account}"),
        is_gateway,
        ..ProxyReport::default()
    }
}

#[test]
fn a_gateway_without_a_gateway_and_a_proxy_that_may_not_be_its_service_are_named_once_each() {
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    let (world, _) = World::restored(&Stored::default());
    let world = world.read(&parsed, Path::new(""), SystemTime::now()).world;
    let found = stranded(
        &compile(&world),
        &[
            proxy("web/i1", "web", false),
            proxy("edge/i2", "edge", true),
            proxy("edge/i3", "edge", true),
            // It reconnects.
            proxy("edge/i3", "edge", true),
            proxy("old/i4", "web", false),
        ],
    );
    assert!(
        found[0].message.starts_with("gateway i2, i3 is connected"),
        "{found:?}"
    );
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (one.reason.as_str(), one.object.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("NoGateway", "Gateway shop/edge"),
            ("NotAdmitted", "Workload shop/old")
        ]
    );
}
