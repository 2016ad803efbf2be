//! Pods with sidecars → Workloads, few and stable: those that no selector can tell apart are one. Pure.
//!
//! Of labels only those count that some Service of the namespace selects by. So a Deployment of a thousand pods is one
//! Workload, also while a new version of it is rolled out, and a StatefulSet whose pods have Services of their own is one for
//! each: without a list of labels that controllers write by themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use sha2::{Digest as _, Sha256};
use usher_config::{
    kind::{Metadata, Object, Resource, Service, Workload, WorkloadSpec},
    value::Name,
};

use super::pod::Pod;

/// Says that nobody has written it.
const ANNOTATION: (&str, &str) = ("usher.dev/from", "pods");

/// Whether a Workload is what pods are, and nobody has written it.
pub(crate) fn is_of_pods(object: &Object) -> bool {
    let (key, value) = ANNOTATION;
    match object {
        Object::Workload(workload) => {
            let annotation = workload.metadata.annotations.get(key);
            annotation.is_some_and(|said| said == value)
        }
        _ => false,
    }
}

/// Room for `-` and eight digits behind a name.
const STEM_MAX: usize = 54;

/// What selectors see of a pod.
type Seen<'p> = (&'p Name, BTreeMap<&'p str, &'p str>);

/// Of one namespace. `written`: the names of Workloads that somebody has written there.
pub(super) fn workloads<'p>(
    namespace: &Name,
    pods: impl IntoIterator<Item = &'p Pod>,
    services: impl IntoIterator<Item = &'p Service>,
    written: &BTreeSet<Name>,
) -> Vec<Workload> {
    let services = services.into_iter();
    let keys: BTreeSet<&str> = services
        .flat_map(|service| service.spec.selector.keys().map(String::as_str))
        .collect();
    let mut groups: BTreeMap<&Name, BTreeSet<Seen<'_>>> = BTreeMap::new();
    for pod in pods {
        let labels = pod.labels.iter();
        let labels = labels.map(|(key, value)| (key.as_str(), value.as_str()));
        let labels = labels.filter(|(key, _)| keys.contains(key)).collect();
        let group = groups.entry(&pod.service).or_default();
        group.insert((&pod.account, labels));
    }
    let mut taken = written.clone();
    let plain = groups.keys().map(|name| (*name).clone());
    taken.extend(plain);
    let mut all = Vec::new();
    for (service, seen) in groups {
        for (index, (account, labels)) in seen.into_iter().enumerate() {
            // A workload that only calls is asked for by this name.
            let is_plain = index == 0 && !written.contains(service);
            let name = match is_plain {
                true => Some(service.clone()),
                false => another(service, (account, &labels), &taken),
            };
            let Some(name) = name else { continue };
            taken.insert(name.clone());
            all.push(workload(namespace, name, (account, labels)));
        }
    }
    all
}

fn workload(namespace: &Name, name: Name, (account, labels): Seen<'_>) -> Workload {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Resource {
        metadata: Metadata {
            name,
            namespace: namespace.clone(),
            labels: labels.into_iter().map(owned).collect(),
            annotations: [owned(ANNOTATION)].into(),
        },
        spec: WorkloadSpec {
            service_account: account.clone(),
            weight: None,
            zone: None,
            health_check: None,
        },
    }
}

/// A name that is the same whenever the same pods are there; `None`: it is taken, which takes the will to have it so.
fn another(
    service: &Name,
    (account, labels): (&Name, &BTreeMap<&str, &str>),
    taken: &BTreeSet<Name>,
) -> Option<Name> {
    let digest = Sha256::digest(format!("{service} {account} {labels:?}"));
    let mut name: String = service.as_str().chars().take(STEM_MAX).collect();
    name.push('-');
    for byte in digest.iter().take(4) {
        let _ = write!(name, "{byte:02x}");
    }
    name.parse().ok().filter(|name| !taken.contains(name))
}
