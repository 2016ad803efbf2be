//! Where a route attaches: its parentRefs, against what the listeners allow and the host names that both have.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    kind::{self, FromNamespaces, ObjectKey, ParentKind, ParentRef, RouteKind},
    value::{Hostname, Name, ServiceName},
};

use crate::compile::{Finding, Reason, index::Index};

/// The one label that a namespace has where nobody labels namespaces (as Kubernetes gives it to all).
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// A listener: its gateway, and its place in it.
pub(super) type Place = (ServiceName, usize);

/// What a listener has of a route: the intersections of their host names. `None`: any.
pub(super) type Hostnames = BTreeSet<Option<Hostname>>;

/// Any kind of route, as far as attaching goes.
pub(super) struct Route<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) kind: RouteKind,
    pub(super) parents: &'a [ParentRef],
    pub(super) hostnames: &'a [Hostname],
}

/// Where a route attaches; what keeps it from doing so is a finding for each parent.
pub(super) fn attach(
    index: &Index<'_>,
    route: &Route<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Place, Hostnames> {
    let mut places: BTreeMap<Place, Hostnames> = BTreeMap::new();
    let gateways = |parent: &&ParentRef| parent.kind == ParentKind::Gateway;
    for parent in route.parents.iter().filter(gateways) {
        match attach_to(index, route, parent) {
            Ok(found) => {
                for (place, hostnames) in found {
                    places.entry(place).or_default().extend(hostnames);
                }
            }
            Err((reason, message)) => findings.push(Finding {
                object: route.key.clone(),
                reason,
                message,
            }),
        }
    }
    places
}

fn attach_to(
    index: &Index<'_>,
    route: &Route<'_>,
    parent: &ParentRef,
) -> Result<Vec<(Place, Hostnames)>, (Reason, String)> {
    let name = parent.parent(&route.key.namespace);
    let Some(gateway) = index.gateways.get(&name) else {
        let message = format!("its parent, Gateway {name}, does not exist");
        return Err((Reason::TargetNotFound, message));
    };
    let meant = |listener: &&(usize, &kind::Listener)| {
        let (port, section) = (parent.port, parent.section_name.as_ref());
        port.is_none_or(|port| listener.1.port == port)
            && section.is_none_or(|section| listener.1.name == *section)
    };
    let listeners: Vec<_> = gateway.object.spec.listeners.iter().enumerate().collect();
    let meant: Vec<_> = listeners.iter().filter(meant).collect();
    if meant.is_empty() {
        let message = format!("Gateway {name} has no such listener");
        return Err((Reason::TargetNotFound, message));
    }
    let allowed: Vec<_> = meant
        .into_iter()
        .filter(|(_, listener)| allows(listener, &name.namespace, route))
        .collect();
    if allowed.is_empty() {
        let (kind, namespace) = (route.key.kind, &route.key.namespace);
        let message = format!(
            "Gateway {name} takes no {kind} of namespace {namespace} there (allowedRoutes, protocol)"
        );
        return Err((Reason::NotAllowedByListeners, message));
    }
    let matching: Vec<(Place, Hostnames)> = allowed
        .into_iter()
        .map(|(at, listener)| ((name.clone(), *at), hostnames_on(listener, route.hostnames)))
        .filter(|(_, hostnames)| !hostnames.is_empty())
        .collect();
    if matching.is_empty() {
        let message = format!("none of its host names is one of the listeners of Gateway {name}");
        return Err((Reason::NoMatchingListenerHostname, message));
    }
    Ok(matching)
}

fn allows(listener: &kind::Listener, own: &Name, route: &Route<'_>) -> bool {
    let namespaces = &listener.allowed_routes.namespaces;
    let namespace = &route.key.namespace;
    let from_there = match namespaces.from.unwrap_or(FromNamespaces::Same) {
        FromNamespaces::All => true,
        FromNamespaces::Same => namespace == own,
        FromNamespaces::Selector => {
            let labels = [(NAMESPACE_LABEL.to_owned(), namespace.to_string())].into();
            let selector = namespaces.selector.as_ref();
            selector.is_some_and(|selector| selector.takes(&labels))
        }
    };
    from_there && listener.takes_kind(route.kind)
}

/// The intersection of both sides' host names; empty: there is none.
fn hostnames_on(listener: &kind::Listener, route: &[Hostname]) -> Hostnames {
    match &listener.hostname {
        _ if route.is_empty() => [listener.hostname.clone()].into(),
        None => route.iter().cloned().map(Some).collect(),
        Some(own) => route
            .iter()
            .filter_map(|other| intersection(own, other))
            .map(Some)
            .collect(),
    }
}

/// The narrower of two names, if it lies within the other.
pub(super) fn intersection(one: &Hostname, other: &Hostname) -> Option<Hostname> {
    if one.matches(other.as_str()) {
        Some(other.clone())
    } else if other.matches(one.as_str()) {
        Some(one.clone())
    } else {
        None
    }
}
