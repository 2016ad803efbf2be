//! One service by its name, without a look at all the others.

use std::net::IpAddr;

use usher_config::{
    model::{Endpoint, ServicePort},
    value::{Name, ServiceName},
};

use crate::snapshot::endpoint_of;

use super::{State, lock};

/// Which instances are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// None.
    Nobody,
    /// The one of that name.
    One(&'a Name),
    /// At most so many of those that are well, beginning with another one each turn.
    Healthy {
        /// Any number; the next one, the next turn.
        turn: usize,
        /// How many.
        most: usize,
    },
}

/// A service as it is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Addresses that stand for all of it.
    pub virtual_addresses: Vec<IpAddr>,
    /// What it serves.
    pub ports: Vec<ServicePort>,
    /// The instances that were wanted.
    pub instances: Vec<Endpoint>,
}

impl State {
    /// What there is under this name; `None`: nothing that anybody could call.
    pub fn lookup(&self, name: &ServiceName, wanted: Wanted<'_>) -> Option<Found> {
        let configuration = self.0.configuration.load();
        let compiled = &configuration.compiled;
        let service = compiled.services.get(name)?;
        let registry = lock(&self.0.registry);
        let all = || registry.instances.of(name);
        let endpoint = |one| endpoint_of(compiled, name, one);
        let instances = match wanted {
            Wanted::Nobody => Vec::new(),
            Wanted::One(instance) => all()
                .find(|(name, _)| *name == instance)
                .and_then(endpoint)
                .into_iter()
                .collect(),
            Wanted::Healthy { turn, most } => {
                let healthy = || all().filter(|(_, instance)| instance.healthy);
                let first = turn % healthy().count().max(1);
                let in_turn = healthy().skip(first).chain(healthy().take(first));
                in_turn.filter_map(endpoint).take(most).collect()
            }
        };
        Some(Found {
            virtual_addresses: service.virtual_addresses.clone(),
            ports: service.ports.clone(),
            instances,
        })
    }

    /// Whether anything that can be called is in this namespace.
    pub fn has_namespace(&self, namespace: &Name) -> bool {
        let configuration = self.0.configuration.load();
        let mut names = configuration.compiled.services.keys();
        names.any(|name| name.namespace == *namespace)
    }

    /// The number of the configuration in force.
    pub fn revision(&self) -> u64 {
        let configuration = self.0.configuration.load();
        configuration.configured.revision.number
    }
}
