//! Where the instances of services are, as a cluster says: pods by their readiness, with a sidecar or without. Pure.
//!
//! On Kubernetes the API server knows who is there and when somebody leaves, before a sidecar could say so. So what it says
//! counts, and what a sidecar registers only takes its own place out (its application is ill, or it has said goodbye). An
//! account that is no pod's registers as everywhere: a machine beside the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use usher_config::value::{InstanceName, Name, Port, ServiceName, SpiffeId};

/// The places of one service, by the names of its instances.
pub type PlacesOf = BTreeMap<Name, Place>;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The sidecar's inbound listener, or the application.
    pub address: SocketAddr,
    /// It wants requests.
    pub ready: bool,
    /// Where it runs; empty when nobody said.
    pub zone: String,
    /// Who is there.
    pub who: Who,
}

/// Who is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A sidecar, whose pod runs as this service account of the service's namespace.
    Sidecar {
        /// Which.
        account: Name,
    },
    /// Somebody without one, serving this port of the service.
    Alone {
        /// Which.
        port: Port,
    },
}

/// What a cluster says anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Namespaces of which all is said here.
    pub namespaces: BTreeSet<Name>,
    /// Of services in these.
    pub places: BTreeMap<ServiceName, PlacesOf>,
    /// Namespace and name of every service account that is known to be pods' alone.
    pub accounts: BTreeSet<(Name, Name)>,
    /// Pods in these that were asked to end, and their addresses: the next one may have the same name.
    pub ending: BTreeMap<Name, BTreeMap<Name, IpAddr>>,
    /// Whether nobody but pods can be an instance, so that whoever is not there is gone.
    pub is_all: bool,
}

/// What has become another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// Services.
    pub changed: BTreeSet<ServiceName>,
    /// Instances that are there no more.
    pub gone: Vec<InstanceName>,
}

/// All that a cluster says.
#[derive(Debug, Default)]
pub struct Places {
    by_service: BTreeMap<ServiceName, PlacesOf>,
    accounts: BTreeSet<(Name, Name)>,
    /// Sidecars that have said goodbye before the cluster noticed.
    left: BTreeSet<InstanceName>,
    /// By namespace: pods that were asked to end, and their addresses.
    ending: BTreeMap<Name, BTreeMap<Name, IpAddr>>,
}

impl Places {
    /// Takes in what a cluster says.
    pub fn put(&mut self, moved: Moved) -> Put {
        let Moved {
            namespaces,
            mut places,
            accounts,
            ending,
            is_all: _,
        } = moved;
        self.ending
            .retain(|namespace, _| !namespaces.contains(namespace));
        self.ending.extend(ending);
        let (mut changed, mut gone) = (BTreeSet::new(), Vec::new());
        self.by_service.retain(|service, known| {
            if !namespaces.contains(&service.namespace) {
                return true;
            }
            let now = places.remove(service).unwrap_or_default();
            if now != *known {
                changed.insert(service.clone());
                let missing = known.keys().filter(|name| !now.contains_key(*name));
                gone.extend(missing.map(|instance| InstanceName {
                    service: service.clone(),
                    instance: instance.clone(),
                }));
                *known = now;
            }
            !known.is_empty()
        });
        places.retain(|_, places| !places.is_empty());
        changed.extend(places.keys().cloned());
        self.by_service.extend(places);
        if self.accounts != accounts {
            let differ = self.accounts.symmetric_difference(&accounts);
            let differ: BTreeSet<&Name> = differ.map(|(namespace, _)| namespace).collect();
            let services = self.by_service.keys();
            let services = services.filter(|service| differ.contains(&service.namespace));
            changed.extend(services.cloned());
            self.accounts = accounts;
        }
        let by_service = &self.by_service;
        self.left.retain(|name| {
            let places = by_service.get(&name.service);
            places.is_some_and(|places| places.contains_key(&name.instance))
        });
        Put { changed, gone }
    }

    /// Those of a service.
    pub fn of(&self, service: &ServiceName) -> Option<&PlacesOf> {
        self.by_service.get(service)
    }

    /// Whether only pods have this identity: they are where the cluster says, and nowhere else.
    pub fn is_of_pods(&self, identity: &SpiffeId) -> bool {
        let SpiffeId {
            namespace,
            service_account,
            ..
        } = identity;
        let account = (namespace.clone(), service_account.clone());
        self.accounts.contains(&account)
    }

    /// Whether the pod of that name at that address, in that identity's namespace, was asked to end. The next pod of a
    /// StatefulSet has the same name, and must not leave because its predecessor had to.
    pub fn ends(&self, identity: &SpiffeId, (instance, at): (&Name, IpAddr)) -> bool {
        let ending = self.ending.get(&identity.namespace);
        ending.and_then(|pods| pods.get(instance)) == Some(&at)
    }

    /// Whether its sidecar has said goodbye.
    pub fn has_left(&self, name: &InstanceName) -> bool {
        self.left.contains(name)
    }

    /// A sidecar has registered.
    pub(super) fn came(&mut self, name: &InstanceName) {
        self.left.remove(name);
    }

    /// A sidecar has said goodbye.
    pub(super) fn left(&mut self, name: &InstanceName) {
        let places = self.by_service.get(&name.service);
        if places.is_some_and(|places| places.contains_key(&name.instance)) {
            self.left.insert(name.clone());
        }
    }
}

/// `ip-10-0-0-7-8443-443`, where somebody listens and which port of the Service that is: the same wherever it is listed, so that a
/// slice that is written anew changes nothing. `None` cannot be: it is a DNS label of at most 54 characters.
pub fn instance_at(address: IpAddr, (listens, port): (Port, Port)) -> Option<Name> {
    let address = match address {
        IpAddr::V4(address) => address.octets().map(|part| part.to_string()).join("-"),
        IpAddr::V6(address) => address.segments().map(|part| format!("{part:x}")).join("-"),
    };
    format!("ip-{address}-{listens}-{port}").parse().ok()
}

#[cfg(test)]
mod tests;
