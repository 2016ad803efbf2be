//! Snapshot + change → next snapshot: rebuilds only what changed, and carries running state over.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use usher_config::{
    model::{Endpoint, Gateway, InboundPolicy, Service},
    value::{InstanceName, ServiceName},
};

use crate::telemetry::metrics::{Direction, Metrics};

use super::{
    Change, GatewayEntry, InboundEntry, ServiceEntry, Snapshot, TokensEntry,
    build::{Builder, Endpoints},
    gateway,
    limits::Limits,
};

/// What does not change while the process lives.
#[derive(Debug)]
pub(super) struct Fixed {
    /// Our own service: its namespace completes short host names.
    pub own: ServiceName,
    /// Where we run, if we were told at start; else our workload's policy says it.
    pub zone: String,
    /// The hash of who we are: what `source` means to ring hash.
    pub source: u64,
    pub workers: usize,
    pub metrics: Metrics,
}

/// The snapshot after `change`.
pub(super) fn apply(previous: &Snapshot, fixed: &Fixed, change: Change) -> Snapshot {
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
    let services_changed = !models.is_empty();
    let mut services = previous.services.clone();
    let zone = own_zone(previous, fixed, change.inbound.as_ref());
    if zone != previous.zone {
        // Preference begins at our own zone: every group was made for the other one.
        touched.extend(services.keys().cloned());
    }
    for name in touched {
        let before = previous.services.get(&name).map(Arc::as_ref);
        let model = match models.remove(&name) {
            Some(model) => model.map(Arc::new),
            None => before.map(|entry| entry.model.clone()),
        };
        match model {
            Some(model) => {
                let known = before.map(models_of).unwrap_or_default();
                let known = update(known, endpoints.remove(&name).unwrap_or_default());
                let zone = &zone;
                let entry = Builder {
                    fixed,
                    zone,
                    before,
                }
                .service(model, known);
                services.insert(name, Arc::new(entry));
            }
            // Endpoints go with their service, and none wait for one: it brings all of its own along, and
            // whatever was kept until then would by now be somebody else's address.
            None => forget(services.remove(&name)),
        }
    }
    let numbers = services
        .values()
        .flat_map(|entry| entry.endpoints.iter().map(|e| e.number))
        .collect();
    let gateway = if change.gateway.is_some() || services_changed {
        next_gateway(previous, fixed, &services, change.gateway)
    } else {
        previous.gateway.clone()
    };
    let inbound = change
        .inbound
        .map(|policy| Arc::new(inbound_entry(policy, previous, &fixed.metrics)));
    Snapshot {
        zone,
        hosts: hosts(&services, &fixed.own),
        addresses: addresses(&services),
        services,
        numbers,
        gateway,
        inbound: inbound.or_else(|| previous.inbound.clone()),
        trust: change
            .trust
            .map(Arc::new)
            .or_else(|| previous.trust.clone()),
        revision: change.revision.or_else(|| previous.revision.clone()),
    }
}

fn forget(service: Option<Arc<ServiceEntry>>) {
    if let Some(service) = service {
        service.metrics.ejected.set(0);
    }
}

/// What we were told at start, else what our workload's policy says.
fn own_zone(previous: &Snapshot, fixed: &Fixed, inbound: Option<&InboundPolicy>) -> String {
    match inbound.or(previous.inbound().map(Arc::as_ref)) {
        Some(policy) if fixed.zone.is_empty() => policy.zone.clone(),
        Some(_) | None => fixed.zone.clone(),
    }
}

fn inbound_entry(policy: InboundPolicy, previous: &Snapshot, metrics: &Metrics) -> InboundEntry {
    let before = previous.inbound.as_ref().map(|before| &before.kept);
    let mut limits = Limits::new(metrics, before);
    let before = previous.inbound.as_ref();
    let tokens = before.and_then(|before| before.tokens.as_ref());
    let label: Arc<str> = policy.service.to_string().into();
    InboundEntry {
        duration: metrics.request_duration(Direction::Inbound, &label),
        tcp_bytes: metrics.tcp_bytes(Direction::Inbound, &label),
        dry_run: policy
            .access
            .iter()
            .map(|access| metrics.access_dry_run(&access.name))
            .collect(),
        limits: policy
            .rate_limits
            .iter()
            .map(|one| limits.entry(one))
            .collect(),
        kept: limits.kept,
        claim_headers: policy.claim_headers.as_slice().into(),
        tokens: policy
            .authentication
            .as_ref()
            .map(|model| TokensEntry::after(tokens, model, metrics)),
        label,
        policy: Arc::new(policy),
    }
}

/// Also for a service that changed: its breaker and budget are shared with the routes that lead to it. `told`: what the
/// control plane says of the gateway itself.
fn next_gateway(
    previous: &Snapshot,
    fixed: &Fixed,
    services: &HashMap<ServiceName, Arc<ServiceEntry>>,
    told: Option<Option<Gateway>>,
) -> Option<Arc<GatewayEntry>> {
    let before = previous.gateway.as_deref();
    let model = match told {
        Some(gateway) => gateway.map(Arc::new),
        None => before.map(|before| before.model.clone()),
    };
    let builder = gateway::Builder::new(fixed, before, services);
    model.map(|model| Arc::new(builder.gateway(model)))
}

fn models_of(entry: &ServiceEntry) -> Endpoints {
    entry
        .endpoints
        .iter()
        .map(|e| (e.model.name.clone(), e.model.clone()))
        .collect()
}

fn update(mut known: Endpoints, changes: Vec<(InstanceName, Option<Endpoint>)>) -> Endpoints {
    for (name, endpoint) in changes {
        match endpoint {
            Some(endpoint) => known.insert(name, Arc::new(endpoint)),
            None => known.remove(&name),
        };
    }
    known
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

fn addresses(
    services: &HashMap<ServiceName, Arc<ServiceEntry>>,
) -> HashMap<IpAddr, Vec<Arc<ServiceEntry>>> {
    let mut addresses: HashMap<IpAddr, Vec<Arc<ServiceEntry>>> = HashMap::new();
    let mut named: Vec<&Arc<ServiceEntry>> = services.values().collect();
    named.sort_by(|one, other| one.model.name.cmp(&other.model.name));
    for entry in named {
        let own = entry.endpoints.iter().filter(|e| e.model.address_is_own);
        let endpoints = own.map(|e| e.model.address.ip());
        for address in entry
            .model
            .virtual_addresses
            .iter()
            .copied()
            .chain(endpoints)
        {
            let at = addresses.entry(address).or_default();
            if !at.last().is_some_and(|last| Arc::ptr_eq(last, entry)) {
                at.push(entry.clone());
            }
        }
    }
    addresses
}
