//! Snapshot + change → next snapshot: rebuilds only what changed, and carries running state over.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use usher_config::{
    model::{Endpoint, Service},
    value::{InstanceName, ServiceName},
};

use super::{Change, EndpointEntry, ServiceEntry, Snapshot};

/// The snapshot after `change`; `own` completes short host names.
pub(super) fn apply(previous: &Snapshot, own: &ServiceName, change: Change) -> Snapshot {
    let mut touched: HashSet<ServiceName> = HashSet::new();
    let mut models: HashMap<ServiceName, Option<Service>> = HashMap::new();
    for (name, service) in change.services {
        touched.insert(name.clone());
        models.insert(name, service);
    }
    let mut endpoints: HashMap<ServiceName, Vec<(InstanceName, Option<Endpoint>)>> = HashMap::new();
    for (name, endpoint) in change.endpoints {
        touched.insert(name.service.clone());
        endpoints
            .entry(name.service.clone())
            .or_default()
            .push((name, endpoint));
    }
    let mut services = previous.services.clone();
    for name in touched {
        let before = previous.services.get(&name);
        let model = match models.remove(&name) {
            Some(model) => model.map(Arc::new),
            None => before.map(|entry| entry.model.clone()),
        };
        let changes = endpoints.remove(&name).unwrap_or_default();
        match model {
            Some(model) => {
                let entry = Arc::new(service_entry(model, before.map(Arc::as_ref), changes));
                services.insert(name, entry);
            }
            None => {
                services.remove(&name);
            }
        }
    }
    let hosts = hosts(&services, own);
    Snapshot {
        services,
        hosts,
        inbound: change
            .inbound
            .map(Arc::new)
            .or_else(|| previous.inbound.clone()),
        trust: change
            .trust
            .map(Arc::new)
            .or_else(|| previous.trust.clone()),
        revision: change.revision.or_else(|| previous.revision.clone()),
    }
}

fn service_entry(
    model: Arc<Service>,
    before: Option<&ServiceEntry>,
    changes: Vec<(InstanceName, Option<Endpoint>)>,
) -> ServiceEntry {
    let mut endpoints: BTreeMap<InstanceName, EndpointEntry> = before
        .map(|entry| {
            entry
                .endpoints
                .iter()
                .map(|e| (e.model.name.clone(), e.clone()))
                .collect()
        })
        .unwrap_or_default();
    for (name, endpoint) in changes {
        match endpoint {
            Some(endpoint) => {
                endpoints.insert(
                    name,
                    EndpointEntry {
                        model: Arc::new(endpoint),
                    },
                );
            }
            None => {
                endpoints.remove(&name);
            }
        }
    }
    ServiceEntry {
        model,
        endpoints: endpoints.into_values().collect(),
        used: before.map(|entry| entry.used.clone()).unwrap_or_default(),
    }
}

fn hosts(
    services: &HashMap<ServiceName, Arc<ServiceEntry>>,
    own: &ServiceName,
) -> HashMap<Box<str>, Arc<ServiceEntry>> {
    let mut hosts = HashMap::new();
    for (ServiceName { namespace, name }, entry) in services {
        if *namespace == own.namespace {
            hosts.insert(name.as_str().into(), entry.clone());
        }
        for suffix in ["", ".svc", ".svc.cluster.local", ".mesh"] {
            hosts.insert(
                format!("{name}.{namespace}{suffix}").into_boxed_str(),
                entry.clone(),
            );
        }
        for address in &entry.model.virtual_addresses {
            hosts.insert(address.to_string().into_boxed_str(), entry.clone());
        }
    }
    hosts
}
