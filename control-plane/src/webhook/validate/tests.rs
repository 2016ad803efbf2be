//! What is another controller's is not judged; what may be ours is.

use serde_json::json;

use super::{super::review::Operation, *};

fn object(kind: &str, spec: &Value) -> Request {
    Request {
        uid: "u".to_owned(),
        operation: Operation::Create,
        sub_resource: String::new(),
        namespace: "shop".to_owned(),
        object: json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
            "metadata": {"name": "edge", "namespace": "shop"}, "spec": spec,
        }),
    }
}

fn known(key: &ObjectKey) -> bool {
    key.to_string() == "Gateway infra/ours" || key.to_string() == "GRPCRoute shop/edge"
}

#[test]
fn a_gateway_of_another_class_is_anothers() {
    for (class, others) in [
        ("istio", true),
        ("nginx", true),
        ("usher", false),
        ("Usher", false),
        ("ushr", false),
    ] {
        let gateway = object("Gateway", &json!({"gatewayClassName": class}));
        assert_eq!(is_others(&gateway, known), others, "{class}");
    }
    assert!(!is_others(&object("Gateway", &json!({})), known));
}

#[test]
fn a_route_is_ours_by_its_parents_or_because_it_runs_here() {
    let ours = json!({"name": "ours", "namespace": "infra"});
    let theirs = json!({"name": "theirs", "kind": "Gateway"});
    let service = json!({"name": "api", "kind": "Service", "group": ""});
    for (kind, parents, others) in [
        ("HTTPRoute", json!([theirs]), true),
        ("HTTPRoute", json!([theirs, ours]), false),
        ("HTTPRoute", json!([ours]), false),
        ("HTTPRoute", json!([service]), false),
        ("HTTPRoute", json!([]), false),
        ("HTTPRoute", json!("ours"), false),
        ("GRPCRoute", json!([theirs]), false),
    ] {
        let route = object(kind, &json!({"parentRefs": parents}));
        assert_eq!(is_others(&route, known), others, "{kind} {parents}");
    }
}

#[test]
fn our_own_kinds_are_never_anothers() {
    let mut policy = object("TrafficPolicy", &json!({}));
    policy.object["apiVersion"] = json!("usher.dev/v1alpha1");
    assert!(!is_others(&policy, known));
    assert!(!is_others(&object("ReferenceGrant", &json!({})), known));
}

#[test]
fn an_object_without_its_name_yet_has_one_that_begins_so() {
    let mut request = object("HTTPRoute", &json!({}));
    request.object["metadata"] = json!({"generateName": "edge-"});
    let named = named(request);
    assert_eq!(named["metadata"]["name"], "edge-00000");
    assert_eq!(named["metadata"]["namespace"], "shop");
}
