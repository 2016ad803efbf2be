//! A service is explained with all that has a say about it.

use usher_config::parse::parse_files;

use super::*;
use crate::compile::compile;

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: bank}
spec: {ports: [{port: 8080, appProtocol: http}], selector: {app: a}}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: a1, namespace: bank, labels: {app: a}}
spec: {serviceAccount: a}
---
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: patience, namespace: bank}
spec:
  targetRefs: [{kind: HTTPRoute, name: r}, {kind: Service, name: gone}]
  timeouts:
    request: 7s
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: a}]
  rules:
  - matches: [{path: {value: /x}}, {method: PUT}]
    backendRefs: [{name: a, port: 8080}]
    retry: {attempts: 5}
";

#[test]
fn everything_that_has_a_say_is_named_with_its_place() {
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    let now = std::time::SystemTime::UNIX_EPOCH;
    let world = World::default()
        .read(&parsed, std::path::Path::new(""), now)
        .world;
    let compiled = compile(&world);
    let places = Places::new(&parsed);
    let known = Known {
        world: &world,
        compiled: &compiled,
        places: &places,
    };
    let told = service(known, &"bank/a".parse().expect("valid")).expect("a service");
    assert_eq!(told.ports, ["8080 http (http)"]);
    assert_eq!(told.workloads[0].at.as_deref(), Some("mesh.yaml:7"));
    let [rule] = told.rules.as_slice() else {
        panic!("{:?}", told.rules);
    };
    assert_eq!(rule.matches, ["path /x…", "path /…, method PUT"]);
    let fields: Vec<_> = rule
        .fields
        .iter()
        .map(|one| (&*one.field, &*one.value))
        .collect();
    assert_eq!(
        fields,
        [("retry.attempts", "5"), ("timeouts.request", "7s")]
    );
    assert_eq!(rule.fields[1].at.as_deref(), Some("mesh.yaml:18"));
    assert_eq!(rule.fields[0].by.as_deref(), Some("HTTPRoute bank/r"));
    assert!(
        told.traffic.iter().all(|one| one.by.is_none()),
        "defaults only"
    );

    let key = world.objects.keys().find(|key| key.kind == Kind::HttpRoute);
    let told = route(known, key.expect("r")).expect("a route");
    assert_eq!(told.parents, ["Service bank/a"]);
    assert_eq!(told.rules.len(), 1);
}
