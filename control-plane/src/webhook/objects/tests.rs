//! The configurations are what stands in the file with the reasons, what Kubernetes takes, and what selects nobody else.

use std::{collections::BTreeSet, path::Path};

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use serde::{Serialize, de::DeserializeOwned};

use super::*;

#[test]
fn they_are_what_the_file_says_with_the_reasons() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/kubernetes/webhook/webhooks.yaml");
    let text = std::fs::read_to_string(path).expect("readable");
    let documents = serde_yaml::Deserializer::from_str(&text);
    let documents: Vec<Value> = documents
        .map(|document| serde::Deserialize::deserialize(document).expect("YAML"))
        .collect();
    let meant = configurations(&Service::default());
    assert_eq!(
        documents,
        meant,
        "{}",
        serde_yaml::to_string(&meant).expect("YAML")
    );
}

fn is_kubernetes<T: Serialize + DeserializeOwned>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone()).expect("of that kind");
    let again = serde_json::to_value(typed).expect("JSON");
    assert_eq!(&again, object, "a field that Kubernetes does not know");
}

#[test]
fn they_have_no_field_that_kubernetes_does_not_know() {
    let [mutating, validating] = configurations(&Service::default());
    is_kubernetes::<MutatingWebhookConfiguration>(&mutating);
    is_kubernetes::<ValidatingWebhookConfiguration>(&validating);
}

/// As an API server does, for what is used here.
fn is_selected(selector: &Value, labels: &[(&str, &str)]) -> bool {
    let all = selector["matchExpressions"].as_array().expect("a list");
    all.iter().all(|one| {
        let value = labels.iter().find(|(key, _)| one["key"] == *key);
        let values = one["values"].as_array().expect("a list");
        let is_among = value.is_some_and(|(_, value)| values.iter().any(|known| known == value));
        match one["operator"].as_str() {
            Some("In") => is_among,
            Some("NotIn") => !is_among,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn only_who_has_asked_for_a_sidecar_depends_on_us_and_nobody_is_asked_about_twice() {
    let [mutating, _] = configurations(&Service::default());
    let asks = |namespace: &[(&str, &str)], pod: &[(&str, &str)]| {
        let webhooks = mutating["webhooks"].as_array().expect("a list");
        let of = |webhook: &&Value| {
            is_selected(&webhook["namespaceSelector"], namespace)
                && is_selected(&webhook["objectSelector"], pod)
        };
        webhooks.iter().filter(of).count()
    };
    let (yes, no) = ([(LABEL, "true")], [(LABEL, "false")]);
    let named = |name: &'static str| [("kubernetes.io/metadata.name", name), (LABEL, "true")];
    assert_eq!(asks(&[], &[]), 0);
    assert_eq!(asks(&[("team", "a")], &[("app", "web")]), 0);
    assert_eq!(asks(&yes, &[]), 1);
    assert_eq!(asks(&yes, &yes), 1);
    assert_eq!(asks(&yes, &no), 0);
    assert_eq!(asks(&[], &yes), 1);
    assert_eq!(asks(&no, &yes), 0);
    for own in [
        "kube-system",
        "usher-system",
        "kube-public",
        "kube-node-lease",
    ] {
        assert_eq!(asks(&named(own), &yes), 0, "{own}");
        assert_eq!(
            asks(&[("kubernetes.io/metadata.name", own)], &yes),
            0,
            "{own}"
        );
    }
    assert_eq!(asks(&named("bank"), &[]), 1);
}

#[test]
fn all_kinds_but_what_is_everybodys_are_validated() {
    let [_, validating] = configurations(&Service::default());
    let rules = validating["webhooks"][0]["rules"]
        .as_array()
        .expect("a list");
    let resources = rules
        .iter()
        .flat_map(|rule| rule["resources"].as_array().expect("a list"));
    let resources: BTreeSet<&str> = resources.filter_map(Value::as_str).collect();
    let others = ["services", "endpointslices", "configmaps"];
    let ours = Kind::ALL.iter().map(|(_, kind)| plural(*kind));
    let ours: BTreeSet<String> = ours.filter(|name| !others.contains(&&**name)).collect();
    assert_eq!(resources, ours.iter().map(String::as_str).collect());
}
