//! Of which services it is known why they have no instance.

use std::path::Path;

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
metadata: { name: api, namespace: shop }
spec: { serviceAccount: api }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: store, namespace: shop }
spec: { serviceAccount: store }
";

#[test]
fn a_service_whose_sidecars_have_no_port_is_down_and_that_is_why() {
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    let (world, _) = World::restored(&Stored::default());
    let world = world.read(&parsed, Path::new(""), SystemTime::now()).world;
    let proxy = |instance: &str, account: &str, only_calls| ProxyReport {
        node: format!("shop/{instance}"),
        identity: format!("spiffe://usher.local/ns/shop/sa/{account}"),
        only_calls,
        ..ProxyReport::default()
    };
    let proxies = [
        proxy("web/i1", "web", true),
        proxy("web/i2", "web", true),
        proxy("api/i3", "api", true),
        // This one's instance is leaving, or not registered yet.
        proxy("api/i4", "api", false),
        // The name is only a claim.
        proxy("store/i5", "web", true),
    ];
    let service = |name: &str| ServiceReport {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..ServiceReport::default()
    };
    let mut services = ["web", "api", "store", "none"].map(service);
    note_without_port(&mut services, &proxies, &compile(&world));
    let noted = services.iter().filter(|one| one.without_port);
    let noted: Vec<&str> = noted.map(|one| one.name.as_str()).collect();
    assert_eq!(noted, ["web"]);
    assert!(services.iter().all(|one| !one.only_calls));
}
