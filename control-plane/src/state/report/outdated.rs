//! Proxies that are too old for what they are told: they drop it without a word, and nobody else would notice.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    model::{InboundPolicy, Service},
    value::{InstanceName, Name, ServiceName},
};

use crate::{
    compile::Compiled,
    snapshot::{asks_for_claims, closes, closes_gateway},
    status::{Condition, ProxyReport},
};

/// How many instances are named.
const NAMED_MAX: usize = 5;

/// One condition for each Service or Gateway whose policies some of its own proxies know nothing of, or whose routes for
/// connections some of its callers do not follow. Pure.
pub(super) fn outdated(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut conditions = unguarded(compiled, proxies);
    conditions.extend(unclaimed(compiled, proxies));
    conditions.extend(unfollowed(compiled, proxies));
    conditions
}

/// A proxy that knows no tokens and no rate limits is told to let in nobody (`snapshot::ForOld`); what refuses nothing, as
/// it is on trial, is nobody's loss.
fn unguarded(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut by_object: BTreeMap<String, BTreeSet<InstanceName>> = BTreeMap::new();
    for proxy in proxies.iter().filter(|proxy| proxy.ignores_guards) {
        let Ok(node) = proxy.node.parse::<InstanceName>() else {
            continue;
        };
        if compiled.inbound.get(&node.service).is_some_and(closes) {
            let object = format!("Service {}", node.service);
            by_object.entry(object).or_default().insert(node.clone());
        }
        if compiled
            .gateways
            .get(&node.service)
            .is_some_and(closes_gateway)
        {
            let object = format!("Gateway {}", node.service);
            by_object.entry(object).or_default().insert(node);
        }
    }
    let condition = |(object, proxies): (String, BTreeSet<InstanceName>)| Condition {
        object,
        reason: "NotEnforced".to_owned(),
        message: format!(
            "its AuthenticationPolicies and RateLimitPolicies are not enforced by {}: too old for them. So a sidecar of the \
             Service lets nobody in, and the Gateway answers what they guard with 500; start these with the current version",
            named(&proxies)
        ),
    };
    by_object.into_iter().map(condition).collect()
}

/// A proxy that knows no rules about claims is not told of them. Where it lets in nobody anyway, that has been said.
fn unclaimed(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut by_service: BTreeMap<ServiceName, BTreeSet<InstanceName>> = BTreeMap::new();
    for proxy in proxies.iter().filter(|proxy| proxy.ignores_claims) {
        let Ok(node) = proxy.node.parse::<InstanceName>() else {
            continue;
        };
        let asks = |policy: &InboundPolicy| {
            asks_for_claims(policy) && !(proxy.ignores_guards && closes(policy))
        };
        if compiled.inbound.get(&node.service).is_some_and(asks) {
            let service = node.service.clone();
            by_service.entry(service).or_default().insert(node);
        }
    }
    let condition = |(service, proxies): (ServiceName, BTreeSet<InstanceName>)| Condition {
        object: format!("Service {service}"),
        reason: "NotEnforced".to_owned(),
        message: format!(
            "its access rules with `from.claims` are not known to {}: too old for them. So these refuse whom only such rules \
             allow; start them with the current version",
            named(&proxies)
        ),
    };
    by_service.into_iter().map(condition).collect()
}

fn unfollowed(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut by_service: BTreeMap<ServiceName, BTreeSet<InstanceName>> = BTreeMap::new();
    // A gateway leads connections by its own routes, never by a Service's.
    for proxy in proxies.iter().filter(|proxy| !proxy.is_gateway) {
        // Parsed when its stream began.
        let Ok(node) = proxy.node.parse::<InstanceName>() else {
            continue;
        };
        let names = proxy.ignores_streams_of.iter();
        for service in names.filter_map(|name| name.parse::<ServiceName>().ok()) {
            let model = compiled.services.get(&service);
            if model.is_some_and(|model| concerns(model, &node.service.namespace)) {
                by_service.entry(service).or_default().insert(node.clone());
            }
        }
    }
    by_service.into_iter().map(condition).collect()
}

/// Whether some route for the service's connections is for callers in the namespace.
fn concerns(service: &Service, callers: &Name) -> bool {
    let mut streams = service.streams.iter();
    streams.any(|route| route.callers.as_ref().is_none_or(|name| name == callers))
}

fn condition((service, callers): (ServiceName, BTreeSet<InstanceName>)) -> Condition {
    Condition {
        object: format!("Service {service}"),
        reason: "NotFollowed".to_owned(),
        message: format!(
            "its TLSRoutes and TCPRoutes are not followed by {}: too old for them, so connections go to the \
             Service itself; start these sidecars with the current version",
            named(&callers)
        ),
    }
}

/// The first of them, and how many more.
fn named(instances: &BTreeSet<InstanceName>) -> String {
    let names = instances.iter().take(NAMED_MAX);
    let names: Vec<String> = names.map(ToString::to_string).collect();
    match instances.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
