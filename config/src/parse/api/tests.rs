//! What the API server keeps is no mistake, what nobody knows is a warning, and what is missing still is missing.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::parse::{Mistake, Severity, parse_files};

fn workload(metadata: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Workload", "metadata": metadata, "spec": spec})
}

fn parse(object: &Value) -> Parsed {
    parse_object(Vec::new(), Path::new("api"), object)
}

#[test]
fn what_the_server_keeps_says_nothing() {
    let kept = json!({
        "name": "web", "namespace": "shop", "labels": {"app": "web"}, "uid": "1", "resourceVersion": "7",
        "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "owner": "shop"},
    });
    let mut object = workload(&kept, &json!({"serviceAccount": "web"}));
    object["status"] = json!({"conditions": [{"type": "Accepted"}]});
    let parsed = parse(&object);
    assert_eq!(parsed.mistakes, []);
    let text = "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {name: web, namespace: shop, labels: {app: web}, \
                annotations: {owner: shop}}\nspec: {serviceAccount: web}\n";
    let of_file = parse_files(&[("a.yaml".into(), text.to_owned())]);
    assert_eq!(parsed.objects[0].object, of_file.objects[0].object);
}

#[test]
fn a_field_that_nobody_knows_is_a_warning_and_the_object_is_good() {
    let object = workload(
        &json!({"name": "web"}),
        &json!({"serviceAccount": "web", "serviceAcount": "w"}),
    );
    let parsed = parse(&object);
    assert_eq!(parsed.objects.len(), 1);
    let [warning] = parsed.mistakes.as_slice() else {
        panic!("{:?}", parsed.mistakes);
    };
    assert_eq!(warning.severity, Severity::Warning);
    assert_eq!(warning.field, "spec.serviceAcount");
    assert_eq!(warning.object.as_deref(), Some("Workload default/web"));
    assert_eq!(warning.nearest.as_deref(), Some("serviceAccount"));
}

#[test]
fn what_is_misspelt_is_missing() {
    let object = workload(&json!({"name": "web"}), &json!({"serviceAcount": "web"}));
    let parsed = parse(&object);
    assert!(parsed.objects.is_empty());
    let errors = parsed
        .mistakes
        .iter()
        .filter(|one| one.severity == Severity::Error);
    let fields: Vec<&str> = errors.map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["spec.serviceAccount"]);
}

#[test]
fn known_objects_are_what_it_may_refer_to() {
    let known = "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {selector: {app: api}, ports: [{port: 80}]}\n";
    let known = parse_files(&[("known.yaml".into(), known.to_owned())]).objects;
    let policy = |target: &str| {
        json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "p"},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": target}], "timeouts": {"request": "1s"}},
        })
    };
    let good = parse_object(known.clone(), Path::new("api"), &policy("api"));
    let is_its = |one: &Mistake| one.file == Path::new("api");
    assert!(!good.mistakes.iter().any(is_its), "{:?}", good.mistakes);
    assert_eq!(good.objects.len(), 2);
    let bad = parse_object(known, Path::new("api"), &policy("ap"));
    assert!(
        bad.mistakes
            .iter()
            .any(|one| one.field.starts_with("spec.targetRefs[0]"))
    );
}

#[test]
fn objects_that_are_parsed_alone_are_one_configuration_together() {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "account", "namespace": "bank"},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "account"}],
            "rules": [{"backendRefs": [{"name": "account", "port": 80}]}],
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "account", "namespace": "bank"},
        "spec": {"selector": {"app": "account"}, "ports": [{"port": 80}]},
    });
    let route = parse_alone(&api_file(Kind::HttpRoute, "bank", "account"), &route);
    assert_eq!(
        route.mistakes,
        [],
        "alone, nothing is said of what it refers to"
    );
    let alone = together([&route]);
    assert!(!alone.mistakes.is_empty(), "there is no such Service");
    let service = parse_alone(&api_file(Kind::Service, "bank", "account"), &service);
    let both = together([&route, &service]);
    assert_eq!(both.objects.len(), 2);
    // In a cluster a Service need not select a Workload that somebody has written.
    assert_eq!(both.mistakes, []);
    assert!(both.sources.is_empty());
}

#[test]
fn no_file_of_a_directory_is_named_as_an_object_of_the_api() {
    assert!(is_api_file(&api_file(Kind::HttpRoute, "bank", "account")));
    for file in ["api/a.yaml", "mesh/api/a.yml", "this object", "apis/x"] {
        assert!(!is_api_file(Path::new(file)), "{file}");
    }
}
