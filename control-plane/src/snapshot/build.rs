//! What is configured and who is registered → the next snapshot, reusing what has not changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use usher_config::{
    model::{Endpoint, Revision, TrustBundle},
    value::{InstanceName, Name, ServiceName, SpiffeId},
    wire::v1,
};

use crate::{
    compile::Compiled,
    registry::instances::{Instance, Instances},
};

use super::{EndpointSet, Resource, Snapshot, for_old::ForOld};

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
        }
    }
}

impl Configured {
    /// Encodes a compiled configuration.
    pub fn new(compiled: &Compiled, revision: Revision) -> Self {
        let named = |name: &ServiceName| -> Arc<str> { name.to_string().into() };
        let mut virtual_addresses: BTreeMap<IpAddr, Vec<Arc<str>>> = BTreeMap::new();
        for (name, service) in &compiled.services {
            for address in &service.virtual_addresses {
                let services = virtual_addresses.entry(*address).or_default();
                services.push(named(name));
            }
        }
        Self {
            revision,
            virtual_addresses,
            services: compiled
                .services
                .iter()
                .map(|(name, service)| (named(name), Resource::encode(&v1::Service::from(service))))
                .collect(),
            inbound: compiled
                .inbound
                .iter()
                .map(|(name, policy)| {
                    (
                        named(name),
                        Resource::encode(&v1::InboundPolicy::from(policy)),
                    )
                })
                .collect(),
            gateways: compiled
                .gateways
                .iter()
                .map(|(name, gateway)| (named(name), Resource::encode(&v1::Gateway::from(gateway))))
                .collect(),
            for_old: ForOld::new(compiled),
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

/// The next snapshot. `settling` and `withdrawn` are the previous one's; the caller knows the time.
pub fn build(previous: &Snapshot, generation: u64, from: Registered<'_>) -> Snapshot {
    let same_configuration = Arc::ptr_eq(&previous.configured, from.configured);
    let (mut endpoints, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    for name in from.compiled.services.keys() {
        let key = name.to_string();
        let reusable = same_configuration && !from.dirty.contains(name);
        let known = previous
            .endpoints
            .get(key.as_str())
            .zip(previous.addresses.get(key.as_str()));
        let (set, at) = match known.filter(|_| reusable) {
            Some((set, at)) => (set.clone(), at.clone()),
            None => {
                let (set, at) = endpoint_set(from.compiled, from.instances, name);
                (Arc::new(set), Arc::new(at))
            }
        };
        let key: Arc<str> = key.into();
        endpoints.insert(key.clone(), set);
        addresses.insert(key, at);
    }
    let trust_bundle = from.trust_bundle.map(|bundle| {
        let resource = Resource::encode(&v1::TrustBundle::from(bundle));
        (bundle.trust_domain.as_str().into(), resource)
    });
    Snapshot {
        generation,
        configured: from.configured.clone(),
        endpoints,
        addresses,
        by_address: OnceLock::new(),
        trust_bundle,
        settling: previous.settling,
        withdrawn: previous.withdrawn.clone(),
    }
}

/// The endpoints of a service: its instances whose identity it still expects.
pub fn endpoints_of(
    compiled: &Compiled,
    instances: &Instances,
    service: &ServiceName,
) -> Vec<Endpoint> {
    let endpoints = instances.of(service);
    let endpoints = endpoints.filter_map(|one| endpoint_of(compiled, service, one));
    endpoints.collect()
}

/// One of them; `None`: its identity may not be this service any more.
pub fn endpoint_of(
    compiled: &Compiled,
    service: &ServiceName,
    (name, instance): (&Name, &Instance),
) -> Option<Endpoint> {
    let backing = compiled.backing_of(&instance.identity, service)?;
    let zone = if instance.zone.is_empty() {
        &backing.zone
    } else {
        &instance.zone
    };
    Some(Endpoint {
        name: InstanceName {
            service: service.clone(),
            instance: name.clone(),
        },
        address: instance.address,
        address_is_own: instance.address_is_own,
        meshed: true,
        weight: backing.weight,
        zone: zone.clone(),
        healthy: instance.healthy,
        ports: Vec::new(),
    })
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
