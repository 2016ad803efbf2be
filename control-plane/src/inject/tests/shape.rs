//! Whether an object is one that Kubernetes takes: by its own types, and by rules that types cannot say.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Panics with what is wrong.
pub(super) fn check(object: &Value) {
    let kind = object["kind"].as_str().unwrap_or_default();
    match kind {
        "List" => {
            for item in object["items"].as_array().into_iter().flatten() {
                check(item);
            }
        }
        "Pod" => {
            typed::<Pod>(object);
            pod(object);
        }
        "Deployment" => of_template::<Deployment>(object, &object["spec"]["template"]),
        "StatefulSet" => of_template::<StatefulSet>(object, &object["spec"]["template"]),
        "DaemonSet" => of_template::<DaemonSet>(object, &object["spec"]["template"]),
        "ReplicaSet" => of_template::<ReplicaSet>(object, &object["spec"]["template"]),
        "Job" => of_template::<Job>(object, &object["spec"]["template"]),
        "CronJob" => {
            of_template::<CronJob>(object, &object["spec"]["jobTemplate"]["spec"]["template"]);
        }
        _ => {}
    }
}

fn of_template<T: Serialize + DeserializeOwned>(object: &Value, template: &Value) {
    typed::<T>(object);
    pod(template);
}

/// Fields that the type does not know would be lost on the way through it.
fn typed<T: Serialize + DeserializeOwned>(object: &Value) {
    let read: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{error}: {object:#}"));
    let written = serde_json::to_value(read).unwrap();
    assert_eq!(written, *object, "a field that Kubernetes does not know");
}

/// What the API server's validation asks for.
fn pod(pod: &Value) {
    let spec = &pod["spec"];
    let list = |of: &Value, field: &str| of[field].as_array().cloned().unwrap_or_default();
    let volumes: Vec<Value> = list(spec, "volumes");
    let volumes = unique(volumes.iter().map(|volume| &volume["name"]));
    let (init, main) = (list(spec, "initContainers"), list(spec, "containers"));
    unique(init.iter().chain(&main).map(|container| &container["name"]));
    let mut ports = BTreeSet::new();
    for container in init.iter().chain(&main) {
        let paths: Vec<Value> = list(container, "volumeMounts");
        unique(paths.iter().map(|mount| &mount["mountPath"]));
        for mount in &paths {
            let name = mount["name"].as_str().unwrap();
            assert!(volumes.contains(name), "no volume {name}");
        }
        for variable in list(container, "env") {
            assert!(variable["value"].is_null() || variable["valueFrom"].is_null());
        }
        for port in list(container, "ports") {
            let number = port["containerPort"].as_u64().unwrap();
            ports.insert(number);
            assert!(port["name"].as_str().is_none_or(|name| name.len() <= 15));
        }
        for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let handlers = ["httpGet", "tcpSocket", "grpc", "exec"];
            let probe = &container[field];
            let given = handlers
                .iter()
                .filter(|handler| !probe[**handler].is_null());
            assert!(probe.is_null() || given.count() == 1, "{probe}");
        }
    }
    for container in &init {
        let native = container["restartPolicy"] == "Always";
        assert!(native || container["restartPolicy"].is_null());
        for field in [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            assert!(
                native || container[field].is_null(),
                "{field} of an init container"
            );
        }
    }
    assert!(
        main.iter()
            .all(|container| container["restartPolicy"].is_null())
    );
    for field in ["labels", "annotations"] {
        let all = pod["metadata"][field]
            .as_object()
            .cloned()
            .unwrap_or_default();
        for (key, value) in all {
            let name = key.rsplit('/').next().unwrap_or_default();
            assert!(!name.is_empty() && name.len() <= 63, "{key}");
            assert!(
                field == "annotations" || value.as_str().is_some_and(|value| value.len() <= 63)
            );
        }
    }
}

fn unique<'a>(values: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for value in values {
        let value = value.as_str().unwrap();
        assert!(all.insert(value.to_owned()), "{value} twice");
    }
    all
}
