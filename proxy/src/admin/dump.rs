//! The snapshot as JSON, for people and for `usher status`; with the running state that belongs to it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use usher_config::model::{AlternativeName, BackendTls, Roots, StreamRoute};

use crate::{
    callers::Seen,
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

/// Every breaker, with the state it is in at `now`, a gateway's routes' included. One that several routes share is listed
/// once, without a route.
pub(super) fn breakers(snapshot: &Snapshot, now: Tick) -> Value {
    let of_services = sorted(snapshot).into_iter().flat_map(|service| {
        let treatments = service.route_treatments.iter().chain([&service.treatment]);
        treatments.map(|treatment| (service.label.to_string(), treatment))
    });
    let of_gateway = snapshot.gateway().into_iter().flat_map(|gateway| {
        let treatments = gateway.treatments();
        treatments.map(|(service, treatment)| {
            let service = service.map(ToString::to_string);
            (service.unwrap_or_default(), treatment)
        })
    });
    let mut found: Vec<(String, &BreakerEntry)> = Vec::new();
    for (service, treatment) in of_services.chain(of_gateway) {
        let Some(entry) = &treatment.breaker else {
            continue;
        };
        let is_known =
            |(_, known): &(String, &BreakerEntry)| Arc::ptr_eq(&known.breaker, &entry.breaker);
        if !found.iter().any(is_known) {
            found.push((service, entry));
        }
    }
    found.sort_by(|(a, one), (b, other)| (a, &one.route).cmp(&(b, &other.route)));
    let listed = found
        .iter()
        .map(|(service, entry)| breaker(service, entry, now));
    Value::Array(listed.collect())
}

/// Who calls without the mesh's TLS, who was last seen first.
pub(super) fn callers(seen: &[Seen], now: Tick) -> Value {
    let caller = |seen: &Seen| {
        json!({
            "address": seen.who.address.to_string(),
            "port": seen.who.port.map(|port| port.get()),
            "connections": seen.connections,
            "firstSeenAgoMs": milliseconds(now.since(seen.first)),
            "lastSeenAgoMs": milliseconds(now.since(seen.last)),
            "refusedAgoMs": seen.refused.map(|at| milliseconds(now.since(at))),
        })
    };
    Value::Array(seen.iter().map(caller).collect())
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
            "tls": port.tls.as_deref().map(tls),
        })).collect::<Vec<_>>(),
        "identities": model.identities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "policy": &*model.policy.name,
        "routes": model.routes.iter().map(|route| &*route.name).collect::<Vec<_>>(),
        "streams": model.streams.iter().map(stream).collect::<Vec<_>>(),
        "endpoints": entry.endpoints.iter().map(|one| endpoint(one, now)).collect::<Vec<_>>(),
    })
}

fn tls(tls: &BackendTls) -> Value {
    match tls {
        BackendTls::Refused(why) => json!({ "refused": why }),
        BackendTls::Verified(tls) => json!({
            "hostname": tls.hostname.as_str(),
            "names": tls.names.iter().map(|name| match name {
                AlternativeName::Dns(name) => name.to_string(),
                AlternativeName::Uri(uri) => uri.clone(),
            }).collect::<Vec<_>>(),
            "roots": match &tls.roots {
                Roots::Web => "web".to_owned(),
                Roots::Given(all) => format!("{} given", all.der().len()),
            },
        }),
    }
}

fn stream(route: &StreamRoute) -> Value {
    json!({
        "name": &*route.name,
        "hostname": route.hostname.as_ref().map(ToString::to_string),
        "ports": route.ports.iter().map(|port| port.get()).collect::<Vec<_>>(),
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

fn breaker(service: &str, entry: &BreakerEntry, now: Tick) -> Value {
    let view = entry.breaker.view(now);
    let open = matches!(view.phase, Phase::Open);
    json!({
        "service": service,
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
