//! Which services need no instances.

use std::{path::Path, time::SystemTime};

use usher_config::parse::parse_files;

use super::*;
use crate::{
    compile::compile,
    registry::{World, store::Stored},
};

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: { name: store }
spec: { ports: [{ name: sql, port: 5432, appProtocol: tcp }, { name: web, port: 80, appProtocol: http }] }
---
apiVersion: v1
kind: Service
metadata: { name: one }
spec: { ports: [{ name: sql, port: 5432, appProtocol: tcp }, { name: web, port: 80, appProtocol: http }] }
---
";

fn route(kind: &str, name: &str, backends: &str) -> String {
    let (version, port) = match kind {
        "TCPRoute" => ("v1alpha2", 5432),
        _ => ("v1", 80),
    };
    let backends = backends.replace("PORT", &port.to_string());
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{ name: {name} }}\n\
         spec: {{ parentRefs: [{{ group: '', kind: Service, name: store, port: {port} }}], rules: [{{ backendRefs: [{backends}] }}] }}\n---\n"
    )
}

fn leads_to(documents: &[String]) -> Vec<String> {
    let text = SERVICES.to_owned() + &documents.concat();
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    let (world, _) = World::restored(&Stored::default());
    let world = world.read(&parsed, Path::new(""), SystemTime::now()).world;
    let compiled = compile(&world);
    let store = &compiled.services[&"default/store".parse().unwrap()];
    let mut report = ServiceReport::default();
    note(&mut report, store);
    report.leads_to
}

#[test]
fn a_service_whose_ports_all_lead_elsewhere_says_where() {
    let one = "{ name: one, port: PORT }";
    let bytes = route("TCPRoute", "bytes", one);
    let requests = route("HTTPRoute", "requests", one);
    assert_eq!(
        leads_to(&[bytes.clone(), requests.clone()]),
        ["default/one"]
    );
    let none: [String; 0] = [];
    assert_eq!(leads_to(&none), none);
    assert_eq!(
        leads_to(std::slice::from_ref(&bytes)),
        none,
        "port 80 is its own"
    );
    let home = route("HTTPRoute", "home", "{ name: store, port: PORT }");
    assert_eq!(leads_to(&[bytes.clone(), home]), none, "and so is this");
    let nothing = route(
        "HTTPRoute",
        "nothing",
        "{ name: one, port: PORT }, { name: store, port: PORT, weight: 0 }",
    );
    assert_eq!(leads_to(&[bytes, nothing]), ["default/one"]);
}
