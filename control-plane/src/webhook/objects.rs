//! The configurations that make API servers ask us: which pods and which objects, and what if nobody answers. Pure.
//!
//! `config/kubernetes/webhook/webhooks.yaml` is what they are, with the reasons for each choice; a test holds the two together. A pod
//! that no selector matches is never asked about: its admission does not depend on us.

use serde_json::{Value, json};
use usher_config::kind::{Choice as _, Kind};

/// Of both configurations, in the whole cluster.
pub const NAME: &str = "usher";

/// The label of namespaces whose pods get a sidecar (`true`), and of pods that want one where their namespace says nothing, or
/// none (`false`) where it does.
pub const LABEL: &str = "usher.dev/inject";

/// Where admission must work before we do: what runs the cluster, and we ourselves.
const NEVER: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Seconds that an API server waits. A pod takes milliseconds (tests/load/RESULTS.md), and it is near.
const INJECT_SECONDS: u32 = 5;
const VALIDATE_SECONDS: u32 = 5;

/// Where API servers find us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name. Default `usher`.
    pub name: String,
    /// Its namespace, which never gets sidecars. Default `usher-system`.
    pub namespace: String,
    /// Its port. Default 15017.
    pub port: u16,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: "usher".to_owned(),
            namespace: "usher-system".to_owned(),
            port: super::PORT,
        }
    }
}

/// The MutatingWebhookConfiguration and the ValidatingWebhookConfiguration, without `caBundle`: that comes from a running control plane.
pub fn configurations(service: &Service) -> [Value; 2] {
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": metadata(),
            "webhooks": [
                inject("namespace.inject.usher.dev", service, (
                    json!([among(LABEL, &["true"]), never(service)]),
                    json!([not_among(LABEL, &["false"])]),
                )),
                inject("pod.inject.usher.dev", service, (
                    json!([not_among(LABEL, &["true", "false"]), never(service)]),
                    json!([among(LABEL, &["true"])]),
                )),
            ],
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": metadata(),
            "webhooks": [{
                "name": "validate.usher.dev",
                "admissionReviewVersions": ["v1"],
                "clientConfig": client_config(service, "/validate"),
                "rules": rules(),
                "matchPolicy": "Equivalent",
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "timeoutSeconds": VALIDATE_SECONDS,
            }],
        }),
    ]
}

fn metadata() -> Value {
    json!({"name": NAME, "labels": {"app.kubernetes.io/name": "usher"}})
}

fn client_config(service: &Service, path: &str) -> Value {
    let Service {
        name,
        namespace,
        port,
    } = service;
    json!({"service": {"name": name, "namespace": namespace, "path": path, "port": port}})
}

fn inject(name: &str, service: &Service, (namespaces, pods): (Value, Value)) -> Value {
    json!({
        "name": name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": client_config(service, "/inject"),
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            "operations": ["CREATE"], "scope": "Namespaced",
        }],
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
        "matchPolicy": "Equivalent",
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "timeoutSeconds": INJECT_SECONDS,
    })
}

fn among(key: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": "In", "values": values})
}

/// Also where there is no such label.
fn not_among(key: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": "NotIn", "values": values})
}

/// By the label that API servers themselves give to each namespace.
fn never(service: &Service) -> Value {
    let own = service.namespace.as_str();
    let all: Vec<&str> = NEVER.into_iter().chain([own]).collect();
    not_among("kubernetes.io/metadata.name", &all)
}

/// A cluster has many of them that are not for us, and its own controllers write most.
const EVERYBODYS: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::ConfigMap];

/// All kinds that are configuration of the mesh alone, in all versions that are read: an API server may serve only one of them.
fn rules() -> Value {
    let kinds = Kind::ALL.iter().map(|(_, kind)| *kind);
    let mut rules: Vec<(&str, Vec<String>)> = Vec::new();
    for kind in kinds.filter(|kind| !EVERYBODYS.contains(kind)) {
        for version in kind.api_versions() {
            let resource = plural(kind);
            match rules.iter_mut().find(|(known, _)| known == version) {
                Some((_, resources)) => resources.push(resource),
                None => rules.push((version, vec![resource])),
            }
        }
    }
    let rules = rules.into_iter().map(|(version, resources)| {
        let (group, version) = version.split_once('/').unwrap_or_default();
        json!({
            "apiGroups": [group], "apiVersions": [version], "resources": resources,
            "operations": ["CREATE", "UPDATE"], "scope": "*",
        })
    });
    rules.collect()
}

/// As Kubernetes spells a kind's resource.
fn plural(kind: Kind) -> String {
    let word = kind.word().to_lowercase();
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with('a') => format!("{stem}ies"),
        _ if word.ends_with("sh") => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests;
