//! Proxies that are too old for what they are told: they drop it without a word, and nobody else would notice.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    model::Service,
    value::{InstanceName, Name, ServiceName},
};

use crate::{
    compile::Compiled,
    status::{Condition, ProxyReport},
};

/// How many instances are named.
const NAMED_MAX: usize = 5;

/// One condition for each Service or Gateway whose policies some of its own proxies know nothing of, or whose routes for
/// connections some of its callers do not follow. Pure.
pub(super) fn outdated(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut conditions = unguarded(compiled, proxies);
    conditions.extend(unfollowed(compiled, proxies));
    conditions
}

/// A proxy that knows no tokens and no rate limits is told to let in nobody (`snapshot::ForOld`).
fn unguarded(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut by_object: BTreeMap<String, BTreeSet<InstanceName>> = BTreeMap::new();
    for proxy in proxies.iter().filter(|proxy| proxy.ignores_guards) {
        let Ok(node) = proxy.node.parse::<InstanceName>() else {
            continue;
        };
        let inbound = compiled.inbound.get(&node.service);
        if inbound.is_some_and(|own| own.authentication.is_some() || !own.rate_limits.is_empty()) {
            let object = format!("Service {}", node.service);
            by_object.entry(object).or_default().insert(node.clone());
        }
        let gateway = compiled.gateways.get(&node.service);
        if gateway.is_some_and(|own| {
            let tokens = own.authentication.is_some() || !own.route_authentication.is_empty();
            // Of strangers it would believe what only tokens say.
            tokens
                || !own.claim_headers.is_empty()
                || !own.rate_limits.is_empty()
                || !own.route_limits.is_empty()
        }) {
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
