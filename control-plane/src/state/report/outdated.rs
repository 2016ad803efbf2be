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

/// One condition for each Service whose routes for connections some of its callers do not follow. Pure.
pub(super) fn outdated(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
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
    let more = match callers.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<String> = callers
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    Condition {
        object: format!("Service {service}"),
        reason: "NotFollowed".to_owned(),
        message: format!(
            "its TLSRoutes and TCPRoutes are not followed by {}{more}: too old for them, so connections go to the \
             Service itself; start these sidecars with the current version",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests;
