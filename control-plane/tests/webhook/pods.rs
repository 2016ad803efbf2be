//! Pods come out of an admission as `usher inject` writes them, of every kind that has some; and what it refuses is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{
    client::{Client, patched, review},
    plane::{Plane, believing, installed},
};

/// What the golden files were written with.
const IMAGES: [&str; 4] = [
    "--image",
    "usher-proxy:test",
    "--init-image",
    "usher-init:test",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/inject")
        .join(name)
}

/// The objects of a file, lists taken apart.
fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let documents =
        documents.map(|document| serde::Deserialize::deserialize(document).expect("YAML"));
    documents
        .flat_map(|object: Value| match object["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![object],
        })
        .collect()
}

/// `usher inject` of one object.
fn inject(object: &Value, flags: &[&str]) -> Result<Value, Value> {
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("object.json");
    fs::write(&file, object.to_string()).expect("writable");
    let output = Command::new(env!("CARGO_BIN_EXE_usher"))
        .args(["inject", "--json", "-f"])
        .arg(&file)
        .args(IMAGES)
        .args(flags)
        .output()
        .expect("usher starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    if report["ok"] == true {
        let text = report["manifests"][0]["text"].as_str().expect("text");
        return Ok(serde_yaml::from_str(text).expect("YAML"));
    }
    Err(report["mistakes"].clone())
}

/// The flags of `usher inject` in the first line of a golden file, and the same for `usher serve`.
fn flags(text: &str) -> (Vec<String>, Vec<String>) {
    let first = text.lines().next().unwrap_or_default();
    let words = first.strip_prefix("# usher inject ").unwrap_or_default();
    let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    // Pods of an admission ask Kubernetes for their namespace.
    if let Some(at) = words.iter().position(|word| word == "--namespace") {
        words.drain(at..at + 2);
    }
    let images = IMAGES.map(str::to_owned);
    let prefixed = images
        .iter()
        .chain(&words)
        .map(|word| match word.strip_prefix("--") {
            Some(flag) => format!("--inject-{flag}"),
            None => word.clone(),
        });
    let serve = prefixed.collect();
    (words, serve)
}

/// The pod that a controller makes of a workload's template, as it comes to an admission.
fn pod_of(workload: &Value) -> Option<Value> {
    let kind = workload["kind"].as_str()?;
    let template = match kind {
        "Pod" => workload.clone(),
        "CronJob" => workload["spec"]["jobTemplate"]["spec"]["template"].clone(),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            workload["spec"]["template"].clone()
        }
        _ => return None,
    };
    let mut pod = template;
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let name = workload["metadata"]["name"].as_str().expect("a name");
    // Defaults that the API server has filled in by then.
    pod["spec"]["dnsPolicy"] = json!("ClusterFirst");
    pod["spec"]["schedulerName"] = json!("default-scheduler");
    if kind == "Pod" {
        return Some(pod);
    }
    let owned = |kind: &str, name: &str| {
        json!([{
            "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true, "blockOwnerDeletion": true,
        }])
    };
    let metadata = &mut pod["metadata"];
    match kind {
        "Deployment" => {
            metadata["generateName"] = json!(format!("{name}-5d8f7c-"));
            metadata["labels"]["pod-template-hash"] = json!("5d8f7c");
            metadata["ownerReferences"] = owned("ReplicaSet", &format!("{name}-5d8f7c"));
        }
        "StatefulSet" => {
            metadata["name"] = json!(format!("{name}-0"));
            metadata["ownerReferences"] = owned(kind, name);
        }
        "CronJob" => {
            metadata["generateName"] = json!(format!("{name}-28374-"));
            metadata["ownerReferences"] = owned("Job", &format!("{name}-28374"));
        }
        _ => {
            metadata["generateName"] = json!(format!("{name}-"));
            metadata["ownerReferences"] = owned(kind, name);
        }
    }
    Some(pod)
}

/// That an object comes out of the admission as from the command, and stays so.
async fn compare(client: &mut Client, object: &Value, flags: &[&str]) -> bool {
    let response = client.ask("/inject", &review("CREATE", object)).await;
    let admitted = patched(object.clone(), &response);
    let written = inject(object, flags).expect("a good one");
    assert_eq!(admitted, written, "{object:#}");
    let again = client.ask("/inject", &review("CREATE", &admitted)).await;
    assert!(
        again["allowed"] == true && again.get("patch").is_none(),
        "{again:#}"
    );
    response.get("patch").is_some()
}

#[tokio::test]
async fn pods_of_all_kinds_come_out_as_usher_inject_writes_them_and_twice_is_once() {
    let mut seen: Vec<String> = Vec::new();
    for file in ["kinds.yaml", "ordered.yaml", "explicit.yaml", "pod.json"] {
        let text = fs::read_to_string(folder("good").join(file)).expect("a golden file");
        let (of_inject, of_serve) = flags(&text);
        let of_inject: Vec<&str> = of_inject.iter().map(String::as_str).collect();
        let of_serve: Vec<&str> = of_serve.iter().map(String::as_str).collect();
        let api = installed().await;
        let plane = Plane::start(&api, "", &of_serve).await;
        let mut client = believing(&api, &plane).await;
        for object in objects(&text) {
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            // Whole workloads, too: whoever makes rules for them gets the same.
            let is_changed = compare(&mut client, &object, &of_inject).await;
            if let Some(mut pod) = pod_of(&object) {
                pod["metadata"]["namespace"] = json!("bank");
                assert_eq!(
                    compare(&mut client, &pod, &of_inject).await,
                    is_changed,
                    "{kind}"
                );
                seen.push(kind);
            } else {
                assert!(!is_changed, "{kind} has no pods");
            }
        }
    }
    for kind in [
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Job",
        "CronJob",
    ] {
        assert!(seen.iter().any(|seen| seen == kind), "{kind} was not tried");
    }
}

/// What `usher inject` says of a mistake, as one line.
fn line(mistake: &Value) -> String {
    let text = |name: &str| mistake[name].as_str().expect("text").to_owned();
    let line = format!(
        "{}: {}: found {}, allowed: {}",
        text("object"),
        text("field"),
        text("found"),
        text("allowed")
    );
    match mistake["nearest"].as_str() {
        Some(nearest) => format!("{line}; did you mean {nearest}?"),
        None => line,
    }
}

#[tokio::test]
async fn what_usher_inject_refuses_is_refused_in_the_same_words() {
    let mut tried = 0;
    for file in ["annotations.yaml", "pods.yaml", "job.yaml"] {
        let text = fs::read_to_string(folder("bad").join(file)).expect("a golden file");
        let (of_inject, of_serve) = flags(&text);
        let of_inject: Vec<&str> = of_inject.iter().map(String::as_str).collect();
        let of_serve: Vec<&str> = of_serve.iter().map(String::as_str).collect();
        let plane = Plane::start_with("", &of_serve).await;
        let mut client = plane.client().await;
        for mut object in objects(&text) {
            object["metadata"]["namespace"] = json!("bank");
            let Err(mistakes) = inject(&object, &of_inject) else {
                continue;
            };
            let mistakes = mistakes.as_array().expect("a list");
            let response = client.ask("/inject", &review("CREATE", &object)).await;
            assert_eq!(response["allowed"], false, "{object:#}");
            let status = &response["status"];
            assert_eq!(status["code"], 422);
            let message = status["message"].as_str().expect("text");
            for mistake in mistakes {
                assert!(
                    message.contains(&line(mistake)),
                    "{}\n is not in\n{message}",
                    line(mistake)
                );
            }
            assert_eq!(
                status["details"]["causes"].as_array().map(Vec::len),
                Some(mistakes.len())
            );
            assert!(message.contains("usher.dev/inject: \"false\""), "{message}");
            assert!(plane.log().contains("admission denied"));
            tried += 1;
        }
    }
    assert!(tried >= 5, "{tried}");
}
