//! The snapshot as JSON, for people and for `usher status`.

use serde_json::{Value, json};

use crate::snapshot::{ServiceEntry, Snapshot};

/// Revision, services, endpoints with their state.
pub(super) fn config(snapshot: &Snapshot) -> Value {
    let mut services: Vec<_> = snapshot.services().collect();
    services.sort_by(|a, b| a.model.name.cmp(&b.model.name));
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
            "accessPolicies": inbound.access.iter().map(|policy| &*policy.name).collect::<Vec<_>>(),
        })),
        "services": services.iter().map(|service| self::service(service)).collect::<Vec<_>>(),
    })
}

fn service(entry: &ServiceEntry) -> Value {
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
        "endpoints": entry.endpoints.iter().map(|endpoint| json!({
            "instance": endpoint.model.name.instance.to_string(),
            "address": endpoint.model.address.to_string(),
            "meshed": endpoint.model.meshed,
            "healthy": endpoint.model.healthy,
            "weight": endpoint.model.weight.get(),
            "zone": endpoint.model.zone,
        })).collect::<Vec<_>>(),
    })
}

/// Every breaker, with the state it is in.
pub(super) fn breakers(_snapshot: &Snapshot) -> Value {
    json!([])
}
