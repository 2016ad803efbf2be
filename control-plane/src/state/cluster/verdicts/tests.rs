//! What a Gateway's listeners have is said of them.

use std::{path::Path, time::SystemTime};

use usher_config::parse::parse_files;

use super::*;
use crate::compile::compile;

const CONFIGURATION: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec:
  gatewayClassName: usher
  listeners:
    - {name: web, port: 80, protocol: HTTP}
    - name: secure
      port: 443
      protocol: HTTPS
      tls: {certificateRefs: [{name: own}, {name: theirs, namespace: shop}]}
      allowedRoutes: {kinds: [{kind: GRPCRoute}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pages, namespace: bank}
spec:
  parentRefs: [{name: edge}]
  hostnames: [a.example, b.example]
  rules:
    - backendRefs: [{name: account, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /x}}]
      backendRefs: [{name: account, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: account, namespace: bank}
spec: {ports: [{port: 80}]}
";

#[test]
fn a_listener_says_what_it_takes_how_many_routes_it_has_and_which_certificate_it_may_not_show() {
    let parsed = parse_files(&[("a.yaml".into(), CONFIGURATION.to_owned())]);
    assert!(!parsed.has_errors(), "{:?}", parsed.mistakes);
    let world = World::default().read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH);
    let compiled = compile(&world.world);
    let key = object_key("Gateway bank/edge").expect("valid");
    let Object::Gateway(written) = &*world.world.objects[&key].object else {
        panic!("a Gateway")
    };
    let runs = &compiled.gateways[&written.full_name()];
    let accepted = ConditionReport {
        r#type: "Accepted".to_owned(),
        status: ConditionStatus::True,
        ..ConditionReport::default()
    };
    let all = listeners((written, runs), &[accepted]);
    let [web, secure] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!((web.attached, secure.attached), (1, 0));
    assert_eq!(web.kinds, ["HTTPRoute", "GRPCRoute"]);
    assert_eq!(secure.kinds, ["GRPCRoute"]);
    let of = |listener: &ListenerVerdict, name: &str| {
        let mut all = listener.conditions.iter();
        all.find(|one| one.r#type == name).cloned().expect("told")
    };
    assert_eq!(of(web, "Accepted").status, ConditionStatus::True);
    assert_eq!(of(web, "ResolvedRefs").status, ConditionStatus::True);
    let refused = of(secure, "ResolvedRefs");
    assert_eq!(
        (refused.status, refused.reason.as_str()),
        (ConditionStatus::False, "RefNotPermitted")
    );
    assert!(refused.message.starts_with("1 of"), "{}", refused.message);
}
