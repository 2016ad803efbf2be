//! The snapshot as JSON, for people and for `usher status`; with the running state that belongs to it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    clock::Tick,
    control::Standing,
    policy::breaker::Phase,
    snapshot::{BreakerEntry, EndpointEntry, ServiceEntry, Snapshot},
};

/// Revision, roots, our own policy, services and their endpoints' state at `now`.
pub(super) fn config(snapshot: &Snapshot, now: Tick) -> Value {
    json!({
        "revision": snapshot.revision().map(|revision| json!({
            "number": revision.number,
            "digest": revision.digest,
        })),
        "trust": snapshot.trust().map(|trust| json!({
            "trustDomain": trust.trust_domain.to_string(),
            "version": trust.version,
            "roots": trust.roots.len(),
        })),
        "inbound": snapshot.inbound().map(|inbound| json!({
            "service": inbound.service.to_string(),
            "mtls": format!("{:?}", inbound.mtls),
            "accessPolicies":
                inbound.access.iter().map(|policy| &*policy.name).collect::<Vec<_>>(),
        })),
        "services": sorted(snapshot).iter().map(|entry| service(entry, now)).collect::<Vec<_>>(),
    })
}

/// How the sidecar stands, with the number of the revision it runs.
pub(super) fn standing(snapshot: &Snapshot, standing: &Standing) -> Value {
    let mut value = json!(*standing.load());
    let revision = snapshot.revision().map(|revision| revision.number);
    if let Some(object) = value.as_object_mut() {
        object.insert("revision".to_owned(), json!(revision));
    }
    value
}

/// Every breaker, with the state it is in at `now`. One that several routes share is listed once, without a route.
pub(super) fn breakers(snapshot: &Snapshot, now: Tick) -> Value {
    let mut listed: Vec<Value> = Vec::new();
    for service in sorted(snapshot) {
        let mut seen = Vec::new();
        let treatments = service.route_treatments.iter().chain([&service.treatment]);
        for entry in treatments.filter_map(|treatment| treatment.breaker.as_ref()) {
            if !seen.iter().any(|other| Arc::ptr_eq(other, &entry.breaker)) {
                seen.push(entry.breaker.clone());
                listed.push(breaker(service, entry, now));
            }
        }
    }
    Value::Array(listed)
}

fn sorted(snapshot: &Snapshot) -> Vec<&Arc<ServiceEntry>> {
    let mut services: Vec<_> = snapshot.services().collect();
    services.sort_by(|a, b| a.model.name.cmp(&b.model.name));
    services
}

fn service(entry: &ServiceEntry, now: Tick) -> Value {
    let model = &entry.model;
    json!({
        "name": model.name.to_string(),
        "ports": model.ports.iter().map(|port| json!({
            "name": port.name.to_string(),
            "port": port.port.get(),
            "protocol": format!("{:?}", port.protocol),
        })).collect::<Vec<_>>(),
        "identities": model.identities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "policy": &*model.policy.name,
        "routes": model.routes.iter().map(|route| &*route.name).collect::<Vec<_>>(),
        "endpoints": entry.endpoints.iter().map(|one| endpoint(one, now)).collect::<Vec<_>>(),
    })
}

fn endpoint(entry: &EndpointEntry, now: Tick) -> Value {
    let view = entry.state.view(now);
    json!({
        "instance": entry.model.name.instance.to_string(),
        "address": entry.model.address.to_string(),
        "meshed": entry.model.meshed,
        "healthy": entry.model.healthy,
        "weight": entry.model.weight.get(),
        "zone": entry.model.zone,
        "inFlight": view.in_flight,
        "expectedMs": milliseconds(view.expected),
        "ejected": view.ejected,
        "ejectedForMs": milliseconds(view.ejected_for),
    })
}

fn breaker(service: &ServiceEntry, entry: &BreakerEntry, now: Tick) -> Value {
    let view = entry.breaker.view(now);
    let open = matches!(view.phase, Phase::Open);
    json!({
        "service": service.model.name.to_string(),
        "route": &*entry.route,
        "state": format!("{:?}", view.phase),
        "generation": view.generation,
        "openForMs": if open { milliseconds(view.remaining) } else { 0 },
        "remainingMs": milliseconds(view.remaining),
        "permits": view.permits,
        "successes": view.successes,
        "mode": format!("{:?}", view.mode),
        "forced": format!("{:?}", view.forced),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
