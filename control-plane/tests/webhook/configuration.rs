//! An object is refused if and only if the control plane would refuse it, by its field; what it would only complain of is a warning.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{client::review, plane::Plane};
use crate::edits::{self, Kind};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/bad")
}

const WEB: &str = "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: { name: web }\nspec: { serviceAccount: web }\n";

/// All good objects of all kinds, together.
fn mesh(kinds: &[Kind]) -> String {
    let others = std::fs::read_to_string(folder().join("others.yaml")).expect("readable");
    let good = kinds.iter().map(|kind| kind.good.clone());
    let all: Vec<String> = [others, WEB.to_owned()].into_iter().chain(good).collect();
    all.join("\n---\n")
}

fn object(text: &str) -> Option<Value> {
    serde_yaml::from_str(text).ok()
}

fn is_gateway_of_others(object: &Value) -> bool {
    object["kind"] == "Gateway" && object["spec"]["gatewayClassName"] == "istio"
}

/// Mistakes of the text, which an object of the API cannot have.
fn is_of_text(text: &str) -> bool {
    object(text).is_none_or(|object| !object.is_object())
}

#[tokio::test]
async fn ten_bad_edits_of_each_kind_are_refused_and_what_is_good_is_not() {
    let kinds = edits::all(&folder());
    let plane = Plane::start_with(&mesh(&kinds), &[]).await;
    let mut client = plane.client().await;
    let (mut refused, mut failures) = (0, Vec::new());
    for kind in &kinds {
        let good = object(&kind.good).expect("YAML");
        let response = client.ask("/validate", &review("UPDATE", &good)).await;
        assert_eq!(response["allowed"], true, "{}: {response:#}", kind.name);
        for (number, edit) in kind
            .edits
            .iter()
            .enumerate()
            .filter(|(_, edit)| !is_of_text(&edit.text))
        {
            let Some(bad) = object(&edit.text) else {
                continue;
            };
            let response = client.ask("/validate", &review("UPDATE", &bad)).await;
            let status = &response["status"];
            let message = status["message"].as_str().unwrap_or_default();
            // Unknown fields are warned of: an API server has its own word on those.
            let warned = response["warnings"].as_array().cloned().unwrap_or_default();
            let warned: Vec<&str> = warned.iter().filter_map(Value::as_str).collect();
            let is_unknown = warned.iter().any(|one| one.contains("unknown field"));
            let is_as_meant = match response["allowed"].as_bool() {
                Some(true) => is_gateway_of_others(&bad) || is_unknown,
                _ => {
                    refused += 1;
                    let causes = status["details"]["causes"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default();
                    // What is missing may be there, misspelt.
                    let says = |words: &String| {
                        let has = |said: &&str| said.contains(words.as_str());
                        has(&message) || warned.iter().any(has)
                    };
                    status["code"] == 422
                        && message.contains("allowed: ")
                        && edit.says.iter().all(says)
                        && !causes.is_empty()
                }
            };
            if !is_as_meant {
                let (name, line) = (&kind.name, edit.line);
                failures.push(format!(
                    "{name}, edit {} at line {line}: {:?} {response:#}",
                    number + 1,
                    edit.says
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(refused > kinds.len() * 8, "{refused}");
}

fn policy(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "shop", "uid": "1", "managedFields": []},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": target}],
            "timeouts": {"request": "1s"},
        },
        "status": {"conditions": []},
    })
}

const SHOP: &str = "\
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: first, namespace: shop}
spec:
  targetRefs: [{group: \"\", kind: Service, name: api}]
  timeouts: {request: 1s}
";

#[tokio::test]
async fn what_is_accepted_with_a_condition_is_allowed_with_a_warning() {
    let plane = Plane::start_with(SHOP, &[]).await;
    let mut client = plane.client().await;
    let silent = client
        .ask("/validate", &review("UPDATE", &policy("first", "api")))
        .await;
    assert!(
        silent["allowed"] == true && silent.get("warnings").is_none(),
        "{silent:#}"
    );
    for (object, words) in [
        (policy("second", "api"), "Conflicted: "),
        (policy("second", "ap"), "spec.targetRefs[0].name: found "),
    ] {
        let response = client.ask("/validate", &review("CREATE", &object)).await;
        assert_eq!(response["allowed"], true, "{response:#}");
        assert!(
            response["warnings"][0]
                .as_str()
                .is_some_and(|said| said.starts_with(words)),
            "{response:#}"
        );
    }
    let mut unknown = policy("first", "api");
    unknown["spec"]["timeout"] = json!({"request": "1s"});
    let response = client.ask("/validate", &review("UPDATE", &unknown)).await;
    assert!(
        response["warnings"][0]
            .as_str()
            .is_some_and(|said| said.contains("did you mean `timeouts`?")),
        "{response:#}"
    );
    let mut wrong = policy("first", "api");
    wrong["spec"]["timeouts"]["request"] = json!("fast");
    let response = client.ask("/validate", &review("UPDATE", &wrong)).await;
    let message = response["status"]["message"].as_str().expect("refused");
    let meant = "TrafficPolicy shop/first: spec.timeouts.request: found `fast`, allowed: ";
    assert!(message.starts_with(meant), "{message}");
    assert_eq!(
        response["status"]["details"]["causes"][0]["field"],
        "spec.timeouts.request"
    );
}

#[tokio::test]
async fn another_controllers_gateways_and_routes_are_not_ours_to_refuse() {
    let plane = Plane::start_with(SHOP, &[]).await;
    let mut client = plane.client().await;
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
            "metadata": {"name": "edge", "namespace": "shop"}, "spec": spec,
        })
    };
    let theirs = [
        object(
            "Gateway",
            json!({"gatewayClassName": "istio", "infrastructure": {}, "listeners": []}),
        ),
        object(
            "HTTPRoute",
            json!({"parentRefs": [{"name": "theirs"}], "rules": [{"sessionPersistence": {}}]}),
        ),
    ];
    for object in theirs {
        let response = client.ask("/validate", &review("CREATE", &object)).await;
        assert!(
            response["allowed"] == true && response.get("warnings").is_none(),
            "{response:#}"
        );
    }
    let ours = object(
        "HTTPRoute",
        json!({
            "parentRefs": [{"group": "", "kind": "Service", "name": "api"}], "rules": [{"matches": "all"}],
        }),
    );
    let response = client.ask("/validate", &review("CREATE", &ours)).await;
    assert_eq!(response["allowed"], false, "{response:#}");
}
