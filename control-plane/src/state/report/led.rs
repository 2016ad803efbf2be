//! Services that are only names: their routes lead all that comes to them to others, so they need no instances.

use std::collections::BTreeSet;

use usher_config::{
    model::{Backend, BackendTarget, Service},
    value::{Port, ServiceName},
};

use crate::status::ServiceReport;

/// Where a service leads whatever comes to it, for callers of every namespace; none: it needs instances of its own. Pure.
fn led(service: &Service) -> BTreeSet<&ServiceName> {
    let mut targets = BTreeSet::new();
    let mut ports: BTreeSet<Port> = service.ports.iter().map(|port| port.port).collect();
    for route in service.routes.iter().filter(|one| one.callers.is_none()) {
        targets.extend(route.backends.iter().filter_map(target));
        // None: all of them.
        ports.retain(|port| !route.ports.is_empty() && !route.ports.contains(port));
    }
    for route in service.streams.iter().filter(|one| one.callers.is_none()) {
        targets.extend(route.backends.iter().filter_map(target));
        ports.retain(|port| !route.ports.contains(port));
    }
    if !ports.is_empty() || targets.contains(&service.name) {
        targets.clear();
    }
    targets
}

fn target(backend: &Backend) -> Option<&ServiceName> {
    match &backend.target {
        BackendTarget::Service(target) if backend.weight.get() > 0 => Some(&target.service),
        BackendTarget::Service(_) | BackendTarget::Invalid(_) => None,
    }
}

/// Notes it where there is no instance.
pub(super) fn note(report: &mut ServiceReport, service: &Service) {
    if report.endpoints.is_empty() {
        report.leads_to = led(service).into_iter().map(ToString::to_string).collect();
    }
}

#[cfg(test)]
mod tests;
