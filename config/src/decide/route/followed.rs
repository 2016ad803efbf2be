//! Which of a service's routes callers of a namespace follow; pure.
//!
//! Consumer routes are for callers in their own namespace, who then follow no others there (GAMMA: whoever calls knows
//! best what he needs). *There* is a port: what a route does not have, it says nothing about. And a port has one kind of
//! route, as where routes are compiled: one of ours for its requests replaces the owner's for its connections, too.

use std::collections::BTreeSet;

use crate::{
    model::{Route, Service, StreamRoute},
    value::{Name, Port},
};

/// Those for requests and those for connections that callers in the namespace `own` follow, in their order.
pub fn followed(service: &Service, own: &Name) -> (Vec<Route>, Vec<StreamRoute>) {
    let requests = service.routes.iter();
    let connections = service.streams.iter();
    let of_requests = requests.map(|route| (&route.callers, &route.ports));
    let of_connections = connections.map(|route| (&route.callers, &route.ports));
    let all: Vec<Port> = service.ports.iter().map(|port| port.port).collect();
    let ours = of_requests
        .chain(of_connections)
        .filter(|(callers, _)| callers.as_ref() == Some(own))
        .flat_map(|(_, ports)| if ports.is_empty() { &all } else { ports })
        .copied()
        .collect();
    let places = Places { own, all, ours };
    let routes = service.routes.iter().filter_map(|route| {
        let ports = places.left(route.callers.as_ref(), &route.ports)?;
        Some(Route {
            ports,
            ..route.clone()
        })
    });
    let streams = service.streams.iter().filter_map(|route| {
        let ports = places.left(route.callers.as_ref(), &route.ports)?;
        Some(StreamRoute {
            ports,
            ..route.clone()
        })
    });
    (routes.collect(), streams.collect())
}

/// A service's ports, seen from a namespace.
struct Places<'a> {
    own: &'a Name,
    all: Vec<Port>,
    /// Those that a route of our namespace has.
    ours: BTreeSet<Port>,
}

impl Places<'_> {
    /// Where we follow a route for `callers` at `ports` (none: all), in the same form. `None`: nowhere.
    fn left(&self, callers: Option<&Name>, ports: &[Port]) -> Option<Vec<Port>> {
        match callers {
            Some(callers) => (callers == self.own).then(|| ports.to_vec()),
            None if self.ours.is_empty() => Some(ports.to_vec()),
            None => {
                let ports = if ports.is_empty() { &self.all } else { ports };
                let others = ports.iter().filter(|port| !self.ours.contains(port));
                let left: Vec<Port> = others.copied().collect();
                (!left.is_empty()).then_some(left)
            }
        }
    }
}

#[cfg(test)]
mod tests;
