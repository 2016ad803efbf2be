//! Proxies that run on although configuration has no place for them any more: nobody would look for them.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::value::{InstanceName, ServiceName};

use crate::{
    compile::Compiled,
    status::{Condition, ProxyReport},
};

/// How many instances are named.
const NAMED_MAX: usize = 5;

/// Why there is no place for a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// A gateway without a Gateway.
    Gateway,
    /// No Workload lets its identity be its service.
    Workload,
}

/// One condition for each service that has such proxies. Pure.
pub(super) fn stranded(compiled: &Compiled, proxies: &[ProxyReport]) -> Vec<Condition> {
    let mut by_service: BTreeMap<(ServiceName, Lack), BTreeSet<InstanceName>> = BTreeMap::new();
    for proxy in proxies {
        // Both were parsed when its stream began.
        let (Ok(node), Ok(identity)) = (proxy.node.parse::<InstanceName>(), proxy.identity.parse())
        else {
            continue;
        };
        let service = node.service.clone();
        let lack = if proxy.is_gateway && !compiled.gateways.contains_key(&service) {
            Lack::Gateway
        } else if !compiled.may_be(&identity, &service) {
            Lack::Workload
        } else {
            continue;
        };
        // One that reconnects has two streams for a moment.
        by_service.entry((service, lack)).or_default().insert(node);
    }
    by_service.into_iter().map(condition).collect()
}

fn condition(
    ((service, lack), instances): ((ServiceName, Lack), BTreeSet<InstanceName>),
) -> Condition {
    let more = match instances.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = instances.iter().take(NAMED_MAX);
    let names: Vec<&str> = names.map(|name| name.instance.as_str()).collect();
    let names = names.join(", ");
    let (object, reason, message) = match lack {
        Lack::Gateway => (
            format!("Gateway {service}"),
            "NoGateway",
            format!(
                "gateway {names}{more} is connected, but no such Gateway is in force: write it, mend it if it was rejected, \
                 or end the process"
            ),
        ),
        Lack::Workload => (
            format!("Workload {service}"),
            "NotAdmitted",
            format!(
                "proxy {names}{more} is connected as {service}, but no Workload lets its identity be that: write the \
                 Workload, or end it"
            ),
        ),
    };
    Condition {
        object,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests;
