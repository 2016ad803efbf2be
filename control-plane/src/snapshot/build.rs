//! What is configured and who is registered → the next snapshot, reusing what has not changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use usher_config::{
    model::{Endpoint, Revision, TrustBundle},
    value::{Name, ServiceName, SpiffeId},
    wire::v1,
};

use crate::{
    compile::{Backing, Compiled},
    registry::{beside, instances::Instances},
};

use super::{EndpointSet, Resource, Snapshot, for_old::ForOld, present::present};

/// A compiled configuration, encoded: made once per revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// Its number and digest.
    pub revision: Revision,
    /// By `namespace/name`.
    pub services: BTreeMap<Arc<str>, Resource>,
    /// By the service's `namespace/name`.
    pub inbound: BTreeMap<Arc<str>, Resource>,
    /// By `namespace/name`.
    pub gateways: BTreeMap<Arc<str>, Resource>,
    /// What proxies are told instead that do not understand all of it.
    pub for_old: ForOld,
    /// The service, `namespace/name`, behind each virtual address. Several: a mistake in them, which was reported.
    pub virtual_addresses: BTreeMap<IpAddr, Vec<Arc<str>>>,
    /// Who may be each service.
    pub identities: BTreeMap<Arc<str>, Vec<SpiffeId>>,
    /// The same with what it makes of their instances.
    pub backing: BTreeMap<ServiceName, Vec<Backing>>,
    /// Endpoints that are written down.
    pub listed: BTreeMap<ServiceName, BTreeMap<Name, Endpoint>>,
}

impl Default for Configured {
    fn default() -> Self {
        Self {
            revision: Revision {
                number: 0,
                digest: String::new(),
            },
            services: BTreeMap::new(),
            inbound: BTreeMap::new(),
            gateways: BTreeMap::new(),
            for_old: ForOld::default(),
            virtual_addresses: BTreeMap::new(),
            identities: BTreeMap::new(),
            backing: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }
}

impl Configured {
    /// Encodes a compiled configuration. What is as it was `before` is not encoded again: of thousands of services an edit
    /// changes a few, and to compare one costs a tenth of writing and hashing it.
    pub fn new(
        compiled: &Compiled,
        revision: Revision,
        before: Option<(&Compiled, &Self)>,
    ) -> Self {
        let named = |name: &ServiceName| -> Arc<str> { name.to_string().into() };
        let mut virtual_addresses: BTreeMap<IpAddr, Vec<Arc<str>>> = BTreeMap::new();
        for (name, service) in &compiled.services {
            for address in &service.virtual_addresses {
                let services = virtual_addresses.entry(*address).or_default();
                services.push(named(name));
            }
        }
        let services = before.map(|(compiled, of)| (&compiled.services, &of.services));
        let inbound = before.map(|(compiled, of)| (&compiled.inbound, &of.inbound));
        let gateways = before.map(|(compiled, of)| (&compiled.gateways, &of.gateways));
        Self {
            revision,
            virtual_addresses,
            services: encoded(&compiled.services, services, |service| {
                Resource::encode(&v1::Service::from(service))
            }),
            inbound: encoded(&compiled.inbound, inbound, |policy| {
                Resource::encode(&v1::InboundPolicy::from(policy))
            }),
            gateways: encoded(&compiled.gateways, gateways, |gateway| {
                Resource::encode(&v1::Gateway::from(gateway))
            }),
            for_old: ForOld::new(compiled),
            backing: compiled.backing.clone(),
            listed: compiled.listed.clone(),
            // Of the backing, not of the services: workloads that only call are told about themselves too.
            identities: compiled
                .backing
                .iter()
                .map(|(name, backing)| {
                    let identities = backing.iter().map(|backing| backing.identity.clone());
                    (named(name), identities.collect())
                })
                .collect(),
        }
    }
}

/// What was compiled before, and what it was encoded as.
type Before<'a, T> = (
    &'a BTreeMap<ServiceName, T>,
    &'a BTreeMap<Arc<str>, Resource>,
);

/// By `namespace/name`; equal ones stay as they were.
fn encoded<T: PartialEq>(
    all: &BTreeMap<ServiceName, T>,
    before: Option<Before<'_, T>>,
    encode: impl Fn(&T) -> Resource,
) -> BTreeMap<Arc<str>, Resource> {
    let nothing = (&BTreeMap::new(), &BTreeMap::new());
    let (known, resources) = before.unwrap_or(nothing);
    let all = beside(known, all).filter_map(|(name, was, is)| {
        let is = is?;
        let key = name.to_string();
        let same = resources.get_key_value(key.as_str());
        Some(match same.filter(|_| was == Some(is)) {
            Some((key, resource)) => (Arc::clone(key), resource.clone()),
            None => (key.into(), encode(is)),
        })
    });
    all.collect()
}

/// Everything a snapshot is made of.
#[derive(Debug, Clone, Copy)]
pub struct Registered<'a> {
    /// The configuration, as compiled.
    pub compiled: &'a Compiled,
    /// The same, encoded.
    pub configured: &'a Arc<Configured>,
    /// Who is there.
    pub instances: &'a Instances,
    /// Services whose instances have changed since the previous snapshot.
    pub dirty: &'a BTreeSet<ServiceName>,
    /// The roots.
    pub trust_bundle: Option<&'a TrustBundle>,
}

/// The next snapshot. `settling` and `withdrawn` are the previous one's; the caller knows the time. What has not changed is
/// the same value as before, by which streams know that it does not concern them.
pub fn build(previous: &Snapshot, generation: u64, from: Registered<'_>) -> Snapshot {
    let (mut endpoints, mut addresses) = (previous.endpoints.clone(), previous.addresses.clone());
    let services = &from.compiled.services;
    let mut put = |name: &ServiceName| {
        let (set, at) = endpoint_set(from.compiled, from.instances, name);
        let key = name.to_string();
        replace(&mut endpoints, &key, set);
        replace(&mut addresses, &key, at);
    };
    if Arc::ptr_eq(&previous.configured, from.configured) {
        let dirty = from.dirty.iter();
        dirty
            .filter(|name| services.contains_key(*name))
            .for_each(&mut put);
    } else {
        let (backing, listed) = (&previous.configured.backing, &previous.configured.listed);
        let known = |name: &ServiceName| previous.endpoints.contains_key(name.to_string().as_str());
        let same_model = |name: &ServiceName| {
            let name = name.to_string();
            let of = |of: &BTreeMap<Arc<str>, Resource>| {
                of.get(name.as_str()).map(|known| known.version.clone())
            };
            let (before, now) = (&previous.configured, from.configured);
            of(&before.services) == of(&now.services) && of(&before.inbound) == of(&now.inbound)
        };
        let stays = |name: &ServiceName| {
            // What is placed there may be called otherwise from now on: in plaintext, by another port, or not at all.
            let same_placed = from.instances.placed.of(name).is_none() || same_model(name);
            let same_backing = backing.get(name) == from.compiled.backing.get(name);
            let same_listed = listed.get(name) == from.compiled.listed.get(name);
            same_placed && same_backing && same_listed && !from.dirty.contains(name) && known(name)
        };
        let changed = services.keys().filter(|name| !stays(name));
        changed.for_each(&mut put);
        let is_there = |name: &Arc<str>| from.configured.services.contains_key(name);
        endpoints.retain(|name, _| is_there(name));
        addresses.retain(|name, _| is_there(name));
    }
    let same_addresses = addresses.len() == previous.addresses.len()
        && addresses
            .values()
            .zip(previous.addresses.values())
            .all(|(now, before)| Arc::ptr_eq(now, before));
    let by_address = match same_addresses {
        true => previous.by_address.clone(),
        false => Arc::default(),
    };
    let trust_bundle = from.trust_bundle.map(|bundle| {
        let resource = Resource::encode(&v1::TrustBundle::from(bundle));
        (bundle.trust_domain.as_str().into(), resource)
    });
    Snapshot {
        generation,
        configured: from.configured.clone(),
        endpoints,
        addresses,
        by_address,
        trust_bundle,
        settling: previous.settling,
        withdrawn: previous.withdrawn.clone(),
    }
}

/// Equal ones stay the same.
fn replace<T: PartialEq>(all: &mut BTreeMap<Arc<str>, Arc<T>>, name: &str, value: T) {
    match all.get_mut(name) {
        Some(known) if **known == value => {}
        Some(known) => *known = Arc::new(value),
        None => drop(all.insert(name.into(), Arc::new(value))),
    }
}

/// The endpoints of a service: its instances whose identity it still expects, or the places that are written down.
pub fn endpoints_of(
    compiled: &Compiled,
    instances: &Instances,
    service: &ServiceName,
) -> Vec<Endpoint> {
    let present = present(compiled, instances, service);
    present.into_iter().map(|one| one.endpoint).collect()
}

fn endpoint_set(
    compiled: &Compiled,
    instances: &Instances,
    service: &ServiceName,
) -> (EndpointSet, BTreeSet<IpAddr>) {
    let endpoints = endpoints_of(compiled, instances, service);
    let set = endpoints
        .iter()
        .map(|endpoint| {
            (
                endpoint.name.to_string(),
                Resource::encode(&v1::Endpoint::from(endpoint)),
            )
        })
        .collect();
    let at = endpoints
        .iter()
        .filter(|endpoint| endpoint.address_is_own)
        .map(|endpoint| endpoint.address.ip())
        .collect();
    (set, at)
}
