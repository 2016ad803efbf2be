//! One service by its name, without a look at all the others, and without the registry's lock.
//!
//! Whoever asks does so as often as they like: a lock that each question held would be held against registrations and
//! renewals. So instances are those of the newest snapshot, which sidecars are told too. In it they are encoded; those
//! that are well are decoded once for each change of a service that somebody asks about.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use prost::Message as _;
use usher_config::{
    model::{Endpoint, ServicePort},
    value::{InstanceName, Name, ServiceName},
    wire::v1,
};

use crate::snapshot::{EndpointSet, Resource, Snapshot};

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

/// Looks services up, one after the other.
#[derive(Debug)]
pub struct Lookup {
    state: State,
    healthy: Mutex<BTreeMap<ServiceName, Decoded>>,
}

/// The instances that are well, and what they were decoded from.
#[derive(Debug)]
struct Decoded {
    from: Arc<EndpointSet>,
    healthy: Arc<[Endpoint]>,
}

impl Lookup {
    /// In this mesh.
    pub fn new(state: State) -> Self {
        let healthy = Mutex::default();
        Self { state, healthy }
    }

    /// What there is under this name; `None`: nothing that anybody could call.
    pub fn service(&self, name: &ServiceName, wanted: Wanted<'_>) -> Option<Found> {
        let configuration = self.state.0.configuration.load();
        let service = configuration.compiled.services.get(name)?;
        let instances = match wanted {
            Wanted::Nobody => Vec::new(),
            Wanted::One(instance) => self.instance(name, instance).into_iter().collect(),
            Wanted::Healthy { turn, most } => {
                let healthy = self.healthy(name);
                let first = turn % healthy.len().max(1);
                let in_turn = healthy.iter().skip(first).chain(healthy.iter().take(first));
                in_turn.take(most).cloned().collect()
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
        let configuration = self.state.0.configuration.load();
        let mut names = configuration.compiled.services.keys();
        names.any(|name| name.namespace == *namespace)
    }

    /// The number of the configuration in force.
    pub fn revision(&self) -> u64 {
        let configuration = self.state.0.configuration.load();
        configuration.configured.revision.number
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.state.0.snapshots.borrow().clone()
    }

    fn instance(&self, service: &ServiceName, instance: &Name) -> Option<Endpoint> {
        let snapshot = self.snapshot();
        let set = snapshot.endpoints.get(service.to_string().as_str())?;
        let name = InstanceName {
            service: service.clone(),
            instance: instance.clone(),
        };
        decoded(set.get(&name.to_string())?)
    }

    fn healthy(&self, service: &ServiceName) -> Arc<[Endpoint]> {
        let snapshot = self.snapshot();
        let Some(from) = snapshot.endpoints.get(service.to_string().as_str()) else {
            return Arc::default();
        };
        let known = lock(&self.healthy)
            .get(service)
            .filter(|known| Arc::ptr_eq(&known.from, from))
            .map(|known| Arc::clone(&known.healthy));
        if let Some(healthy) = known {
            return healthy;
        }
        // Not under the lock: two who ask at once decode twice, nobody waits.
        let all = from.values().filter_map(decoded);
        let healthy: Arc<[Endpoint]> = all.filter(|one| one.healthy).collect();
        let mut known = lock(&self.healthy);
        known.retain(|name, _| snapshot.endpoints.contains_key(name.to_string().as_str()));
        let (from, decoded) = (Arc::clone(from), Arc::clone(&healthy));
        known.insert(
            service.clone(),
            Decoded {
                from,
                healthy: decoded,
            },
        );
        healthy
    }
}

/// Always: it was encoded here.
fn decoded(resource: &Resource) -> Option<Endpoint> {
    let message = v1::Endpoint::decode(resource.body.clone()).ok()?;
    message.try_into().ok()
}

#[cfg(test)]
mod tests;
