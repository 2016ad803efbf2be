//! Routes for a service's connections: which takes one, by its port and, where they differ by it, the name that TLS asks for.

use std::collections::HashMap;

use crate::{model::StreamRoute, value::Port};

use super::Hosts;

/// See the module.
#[derive(Debug, Default)]
pub struct Streams(HashMap<Port, Hosts<StreamRoute>>);

/// What decides about connections to a port that has routes.
#[derive(Debug, Clone, Copy)]
pub enum Governed<'t> {
    /// One route takes all.
    By(&'t StreamRoute),
    /// The name that a connection asks for: see [`Streams::select`].
    ByName,
}

impl Streams {
    /// Of a service with these ports. The first route for a port and a name takes all.
    pub fn new(routes: &[StreamRoute], ports: impl Iterator<Item = Port>) -> Self {
        let of = |port| {
            let mut hosts = Hosts::default();
            for route in routes {
                if route.ports.is_empty() || route.ports.contains(&port) {
                    hosts.entry(route.hostname.as_ref(), || route.clone());
                }
            }
            (port, hosts)
        };
        let governed = ports.map(of).filter(|(_, hosts)| !hosts.is_empty());
        Self(governed.collect())
    }

    /// Who decides about connections to this port; `None`: no route, they go to the service itself.
    pub fn at(&self, port: Port) -> Option<Governed<'_>> {
        let hosts = self.0.get(&port)?;
        Some(match hosts.unnamed() {
            Some(route) if !hosts.has_names() => Governed::By(route),
            Some(_) | None => Governed::ByName,
        })
    }

    /// The route with the most precise name that covers this one (lower case), else one for any; `None`: none takes the
    /// connection, which then has no way.
    pub fn select(&self, port: Port, sni: Option<&str>) -> Option<&StreamRoute> {
        let hosts = self.0.get(&port)?;
        match sni {
            Some(sni) => hosts.most_precise(sni),
            None => hosts.unnamed(),
        }
    }
}

#[cfg(test)]
mod tests;
