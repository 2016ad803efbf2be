//! Sidecars in manifests: what comes out is what Kubernetes takes, twice is once, and out again is as it was.

mod generated;
mod refused;
mod shape;
mod single;
mod total;

use super::*;

/// Pods whose sidecars prove themselves with a token of their own, under fixed images.
fn settings() -> Settings {
    Settings {
        image: "usher-proxy:test".into(),
        init_image: "usher-init:test".into(),
        ..Settings::default()
    }
}

fn ordered() -> Settings {
    Settings {
        style: Style::Ordered,
        ..settings()
    }
}

/// Injects; nothing may be wrong with it.
fn injected(text: &str, settings: &Settings) -> String {
    let changed = change(text, Wish::Inject(settings));
    assert_eq!(changed.complaints, [], "{text}");
    changed.text
}

fn uninjected(text: &str) -> String {
    change(text, Wish::Uninject).text
}

/// What is wrong, line by line.
fn complaints(text: &str, settings: &Settings) -> Vec<String> {
    let changed = change(text, Wish::Inject(settings));
    let all = changed.complaints.iter();
    let all = all.map(|one| {
        format!(
            "{}: {}: found {}, allowed: {}",
            one.line, one.field, one.found, one.allowed
        )
    });
    all.collect()
}

/// A document as JSON.
fn json(text: &str) -> Value {
    let read = yaml::read(text).unwrap();
    read.root.map_or(Value::Null, |root| root.to_json())
}

/// The container of that name.
fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let spec = if pod["spec"]["containers"].is_array() {
        &pod["spec"]
    } else {
        &pod["spec"]["template"]["spec"]
    };
    let all = ["initContainers", "containers"].into_iter();
    let mut all = all.flat_map(|kind| spec[kind].as_array().into_iter().flatten());
    all.find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no container {name} in {pod:#}"))
}

/// The value of a variable of the sidecar.
fn variable<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = container(pod, "usher-proxy")["env"].as_array().unwrap();
    let found = all.iter().find(|one| one["name"] == name);
    found.map_or(&Value::Null, |one| &one["value"])
}

const POD: &str = "\
# The shop.
apiVersion: v1
kind: Pod
metadata:
  name: web # its name
  namespace: shop
  labels: {app: web}
spec:
  # Runs as nobody in particular.
  initContainers:
  - name: prepare
    image: a
  containers:
  # the application
  - name: app
    image: \"a:1\"   # pinned
    ports:
    - {name: http, containerPort: 8080}
  volumes:
  - name: own
    secret: {secretName: x, defaultMode: 0400}
  # the end
";

/// [`POD`] with annotations.
fn annotated(annotations: &str) -> String {
    POD.replace(
        "  labels:",
        &format!("  annotations: {{{annotations}}}\n  labels:"),
    )
}

/// [`POD`] with something more in its spec.
fn with(spec: &str) -> String {
    POD.replace("spec:\n", &format!("spec:\n{spec}"))
}

/// [`POD`] with something more in its container.
fn in_container(fields: &str) -> String {
    POD.replace("    ports:\n", &format!("{fields}    ports:\n"))
}
