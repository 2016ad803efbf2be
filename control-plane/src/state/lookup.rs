//! One service by its name, without a look at all the others, and without the registry's lock.
//!
//! Whoever asks does so as often as they like: a lock that each question held would be held against registrations and
//! renewals. So instances are those of the newest snapshot, which sidecars are told too. In it they are encoded; they
//! are decoded once for each change of a service that somebody asks about.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use prost::Message as _;
use usher_config::{
    kind::VirtualCidr,
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

/// What an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// It stands for all of a service.
    Service(ServiceName),
    /// An instance is there, and nowhere else.
    Instance(InstanceName),
}

/// Looks services up, one after the other.
#[derive(Debug)]
pub struct Lookup {
    state: State,
    known: Mutex<BTreeMap<ServiceName, Decoded>>,
}

/// Instances, and what they were decoded from.
#[derive(Debug)]
struct Decoded {
    from: Arc<EndpointSet>,
    instances: Instances,
}

#[derive(Debug, Clone, Default)]
struct Instances {
    all: Arc<[Endpoint]>,
    healthy: Arc<[Endpoint]>,
}

impl Lookup {
    /// In this mesh.
    pub fn new(state: State) -> Self {
        let known = Mutex::default();
        Self { state, known }
    }

    /// What there is under this name; `None`: nothing that anybody could call.
    pub fn service(&self, name: &ServiceName, wanted: Wanted<'_>) -> Option<Found> {
        let configuration = self.state.0.configuration.load();
        let service = configuration.compiled.services.get(name)?;
        let instances = match wanted {
            Wanted::Nobody => Vec::new(),
            Wanted::One(instance) => self.instance(name, instance).into_iter().collect(),
            Wanted::Healthy { turn, most } => {
                let healthy = self.instances(name).healthy;
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

    /// What is at an address, which is its own: at most so many, services before instances.
    pub fn named(&self, address: IpAddr, most: usize) -> Vec<Named> {
        let snapshot = self.snapshot();
        let services = snapshot.services_at(address).iter();
        let is_virtual = snapshot.configured.virtual_addresses.contains_key(&address);
        // Always: each was a name when the snapshot was made.
        let services = services.filter_map(|name| name.parse::<ServiceName>().ok());
        let named = services.flat_map(|service| match is_virtual {
            true => vec![Named::Service(service)],
            false => {
                let instances = self.instances(&service).all;
                let here = instances
                    .iter()
                    .filter(|one| one.address_is_own && one.address.ip().to_canonical() == address);
                let here = here.map(|one| Named::Instance(one.name.clone()));
                here.take(most).collect()
            }
        });
        named.take(most).collect()
    }

    /// Whether anything that can be called is in this namespace.
    pub fn has_namespace(&self, namespace: &Name) -> bool {
        let configuration = self.state.0.configuration.load();
        let mut names = configuration.compiled.services.keys();
        names.any(|name| name.namespace == *namespace)
    }

    /// The block of which services get their addresses.
    pub fn virtual_block(&self) -> VirtualCidr {
        let configuration = self.state.0.configuration.load();
        configuration.compiled.virtual_block
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

    fn instances(&self, service: &ServiceName) -> Instances {
        let snapshot = self.snapshot();
        let Some(from) = snapshot.endpoints.get(service.to_string().as_str()) else {
            return Instances::default();
        };
        let known = lock(&self.known)
            .get(service)
            .filter(|known| Arc::ptr_eq(&known.from, from))
            .map(|known| known.instances.clone());
        if let Some(instances) = known {
            return instances;
        }
        // Not under the lock: two who ask at once decode twice, nobody waits.
        let all: Arc<[Endpoint]> = from.values().filter_map(decoded).collect();
        let healthy = all.iter().filter(|one| one.healthy).cloned().collect();
        let instances = Instances { all, healthy };
        let mut known = lock(&self.known);
        known.retain(|name, _| snapshot.endpoints.contains_key(name.to_string().as_str()));
        let (from, decoded) = (Arc::clone(from), instances.clone());
        known.insert(
            service.clone(),
            Decoded {
                from,
                instances: decoded,
            },
        );
        instances
    }
}

/// Always: it was encoded here.
fn decoded(resource: &Resource) -> Option<Endpoint> {
    let message = v1::Endpoint::decode(resource.body.clone()).ok()?;
    message.try_into().ok()
}

#[cfg(test)]
mod tests;
