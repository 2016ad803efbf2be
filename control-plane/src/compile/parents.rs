//! The services whose requests or connections a route takes: its parentRefs, and which kind of route each of their ports has.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    kind::{Kind, ObjectKey, ParentKind, ParentRef},
    value::{Name, Port, ServiceName},
};

use super::{Finding, Reason, index::Index};

/// By service the ports at which a route takes what comes for it; never none.
pub(super) type Parents = BTreeMap<ServiceName, BTreeSet<Port>>;

/// Any kind of route, as far as its parents go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) parents: &'a [ParentRef],
}

/// Who has a port, for those who follow it.
type Holders<'a> = BTreeMap<(&'a ServiceName, Option<&'a Name>, Port), &'a ObjectKey>;

/// Of each route, in their order. Only one kind applies to a port (GEP-1426, "Route types"), for those who follow it. A
/// port that cannot carry what a kind is about is not that kind's.
pub(super) fn parents(
    index: &Index<'_>,
    all: &[Child<'_>],
    findings: &mut Vec<Finding>,
) -> Vec<Parents> {
    let mut parents: Vec<Parents> = all
        .iter()
        .map(|child| parents_of(index, *child, findings))
        .collect();
    let before = parents.clone();
    let mut holders = Holders::new();
    for (child, parents) in all.iter().zip(&before) {
        for (service, ports) in parents {
            let callers = followers(child.key, service);
            for port in ports
                .iter()
                .filter(|port| carries(index, service, **port, child.key.kind))
            {
                let holder = holders
                    .entry((service, callers, *port))
                    .or_insert(child.key);
                if child.key.kind.route_precedence() < holder.kind.route_precedence() {
                    *holder = child.key;
                }
            }
        }
    }
    for (child, parents) in all.iter().zip(&mut parents) {
        for (service, ports) in parents.iter_mut() {
            let callers = followers(child.key, service);
            ports.retain(|port| {
                let holder = holders.get(&(service, callers, *port));
                let kind = child.key.kind;
                let other = holder.filter(|holder| holder.kind != kind);
                let Some(other) = other.filter(|_| carries(index, service, *port, kind)) else {
                    return true;
                };
                findings.push(Finding {
                    object: child.key.clone(),
                    reason: Reason::Conflicted,
                    message: format!(
                        "{other} has port {port} of Service {service}, and a port has one kind of route: there this \
                         one is not followed"
                    ),
                });
                false
            });
        }
        parents.retain(|_, ports| !ports.is_empty());
    }
    parents
}

/// Whether a port of a service has what a kind of route is about.
fn carries(index: &Index<'_>, service: &ServiceName, port: Port, kind: Kind) -> bool {
    let service = index.services.get(service);
    let mut ports = service.into_iter().flat_map(|service| &service.spec.ports);
    let declared = ports.find(|declared| declared.port == port);
    declared.is_some_and(|port| port.carries(kind))
}

/// The namespace of those who follow a consumer route; `None`: everybody.
pub(super) fn followers<'a>(route: &'a ObjectKey, service: &ServiceName) -> Option<&'a Name> {
    let namespace = &route.namespace;
    (*namespace != service.namespace).then_some(namespace)
}

fn parents_of(index: &Index<'_>, child: Child<'_>, findings: &mut Vec<Finding>) -> Parents {
    let mut parents = Parents::new();
    let services = |parent: &&ParentRef| parent.kind == ParentKind::Service;
    for reference in child.parents.iter().filter(services) {
        let name = reference.parent(&child.key.namespace);
        let ports = parent_ports(index, reference, &name);
        match ports.and_then(|ports| with_connections(index, child, &name, ports)) {
            Ok(ports) => parents.entry(name).or_default().extend(ports),
            Err((reason, message)) => findings.push(Finding {
                object: child.key.clone(),
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
    let ports: Vec<Port> = service
        .spec
        .ports
        .iter()
        .filter(|port| reference.means(port))
        .map(|port| port.port)
        .collect();
    if ports.is_empty() {
        let message = format!("Service {name} has no such port");
        return Err((Reason::TargetNotFound, message));
    }
    Ok(ports)
}

/// Of a route for connections only the ports that have any: to others there are only requests.
fn with_connections(
    index: &Index<'_>,
    child: Child<'_>,
    name: &ServiceName,
    mut ports: Vec<Port>,
) -> Result<Vec<Port>, (Reason, String)> {
    let kind = child.key.kind;
    if kind.is_of_connections() {
        ports.retain(|port| carries(index, name, *port, kind));
    }
    if ports.is_empty() {
        let message = format!(
            "Service {name} has no port there that carries connections: what declares HTTP (appProtocol) has requests"
        );
        return Err((Reason::TargetNotFound, message));
    }
    Ok(ports)
}
