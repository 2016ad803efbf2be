//! What a kubelet and its controllers would do and podman 4.3 does not, or does in another way.
//!
//! - A Deployment becomes pods: podman gives those of one Deployment the same `emptyDir`, named after its volume alone. For
//!   the same reason each pod's has the pod's name before it.
//! - `restartPolicy` is `OnFailure`: under `Always` podman starts an init container that is done again, and never the others.
//! - `containerPort`s are left out: podman publishes each on the machine, where the next pod finds it taken.
//! - Annotations of the pod are left out: podman takes none of more than 63 characters.
//! - Images have the test's own tag.
//!
//! What it leaves out without a word: probes but liveness, hooks, grace of termination, `sysctls`, namespaces.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// The documents of a text of YAML.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let all = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    let all: Vec<Value> = all.collect::<Result<_, _>>()?;
    Ok(all.into_iter().filter(|one| !one.is_null()).collect())
}

/// Of a manifest, injected or not, what podman is given.
pub fn for_podman(text: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for object in documents(text)? {
        match object["kind"].as_str() {
            Some("Deployment") => {
                for number in 0..object["spec"]["replicas"].as_u64().unwrap_or(1) {
                    objects.push(pod(&object, number)?);
                }
            }
            Some("ConfigMap" | "PersistentVolumeClaim") => objects.push(object),
            _ => {}
        }
    }
    Ok(objects)
}

fn pod(deployment: &Value, number: u64) -> Result<Value> {
    let template = &deployment["spec"]["template"];
    let name = deployment["metadata"]["name"].as_str().context("name")?;
    let name = format!("{name}-{number}");
    let mut spec = template["spec"].clone();
    spec["restartPolicy"] = "OnFailure".into();
    let mut renamed = BTreeMap::new();
    for volume in list(&mut spec, "volumes") {
        if volume.get("emptyDir").is_some() {
            let old = volume["name"].as_str().context("volume")?.to_owned();
            let new = format!("{name}-{old}");
            volume["name"] = new.clone().into();
            renamed.insert(old, new);
        }
    }
    for kind in ["initContainers", "containers"] {
        for container in list(&mut spec, kind) {
            container
                .as_object_mut()
                .context("container")?
                .remove("ports");
            let image = container["image"].as_str().context("image")?;
            let image = image.split(':').next().unwrap_or(image);
            container["image"] = format!("localhost/{image}:test").into();
            container["imagePullPolicy"] = "Never".into();
            for mount in list(container, "volumeMounts") {
                let new = mount["name"].as_str().and_then(|old| renamed.get(old));
                if let Some(new) = new {
                    mount["name"] = new.clone().into();
                }
            }
        }
    }
    let labels = &template["metadata"]["labels"];
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }))
}

fn list<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    let all = object.get_mut(field).and_then(Value::as_array_mut);
    all.into_iter().flatten()
}

/// The ConfigMap that the `kustomization.yaml` in `folder` makes of files.
pub fn in_files(folder: &Path) -> Result<Value> {
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let kustomization = documents(&read("kustomization.yaml")?)?;
    let map = &kustomization[0]["configMapGenerator"][0];
    let files = map["files"].as_array().context("files")?;
    let mut data = BTreeMap::new();
    for file in files.iter().filter_map(Value::as_str) {
        data.insert(file, read(file)?);
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": map["name"], "namespace": map["namespace"]},
        "data": data,
    }))
}
