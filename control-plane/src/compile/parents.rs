//! The services whose requests a route takes: its parentRefs, and which kind of route each of their ports has.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    kind::{self, Kind, ParentKind, ParentRef},
    value::{Name, Port, ServiceName},
};

use super::{Finding, Reason, index::Index, written::Written};

/// By service the ports at which a route takes its requests; never none.
pub(super) type Parents = BTreeMap<ServiceName, BTreeSet<Port>>;

/// Of each route, in their order. Only one kind applies to a port, GRPCRoutes before HTTPRoutes (GEP-1426, "Route types"),
/// for those who follow it.
pub(super) fn parents(
    index: &Index<'_>,
    all: &[Written<'_>],
    findings: &mut Vec<Finding>,
) -> Vec<Parents> {
    let mut parents: Vec<Parents> = all
        .iter()
        .map(|written| parents_of(index, written, findings))
        .collect();
    let mut calls: BTreeMap<(&ServiceName, Option<&Name>, Port), &Written<'_>> = BTreeMap::new();
    let copy = parents.clone();
    let grpc = all.iter().zip(&copy);
    for (written, parents) in grpc.filter(|(written, _)| written.key.kind == Kind::GrpcRoute) {
        for (service, ports) in parents {
            for port in ports {
                let place = (service, followers(written, service), *port);
                calls.entry(place).or_insert(written);
            }
        }
    }
    for (written, parents) in all.iter().zip(&mut parents) {
        if written.key.kind == Kind::GrpcRoute {
            continue;
        }
        for (service, ports) in parents.iter_mut() {
            let callers = followers(written, service);
            ports.retain(|port| {
                let Some(other) = calls.get(&(service, callers, *port)) else {
                    return true;
                };
                findings.push(Finding {
                    object: written.key.clone(),
                    reason: Reason::Conflicted,
                    message: format!(
                        "{} has port {port} of Service {service}, and a port has one kind of route: \
                         there this one is not followed",
                        other.key
                    ),
                });
                false
            });
        }
        parents.retain(|_, ports| !ports.is_empty());
    }
    parents
}

/// The namespace of those who follow a consumer route; `None`: everybody.
pub(super) fn followers<'a>(written: &Written<'a>, service: &ServiceName) -> Option<&'a Name> {
    let namespace = &written.key.namespace;
    (*namespace != service.namespace).then_some(namespace)
}

fn parents_of(index: &Index<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) -> Parents {
    let mut parents = Parents::new();
    let services = |parent: &&ParentRef| parent.kind == ParentKind::Service;
    for reference in written.parents.iter().filter(services) {
        let name = reference.parent(&written.key.namespace);
        match parent_ports(index, reference, &name) {
            Ok(ports) => parents.entry(name).or_default().extend(ports),
            Err((reason, message)) => findings.push(Finding {
                object: written.key.clone(),
                reason,
                message,
            }),
        }
    }
    parents
}

fn parent_ports(
    index: &Index<'_>,
    reference: &ParentRef,
    name: &ServiceName,
) -> Result<Vec<Port>, (Reason, String)> {
    let Some(service) = index.services.get(name) else {
        return Err((
            Reason::TargetNotFound,
            format!("its parent, Service {name}, does not exist"),
        ));
    };
    let wanted = |port: &&kind::ServicePort| {
        reference.port.is_none_or(|number| port.port == number)
            && reference
                .section_name
                .as_ref()
                .is_none_or(|name| port.name.as_ref() == Some(name))
    };
    let ports: Vec<Port> = service
        .spec
        .ports
        .iter()
        .filter(wanted)
        .map(|port| port.port)
        .collect();
    if ports.is_empty() {
        let message = format!("Service {name} has no such port");
        return Err((Reason::TargetNotFound, message));
    }
    Ok(ports)
}
