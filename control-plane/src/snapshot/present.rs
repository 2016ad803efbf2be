//! Who is there of a service: what configuration lists, what a cluster says, and what sidecars have registered, made one.
//!
//! What only a cluster can say goes first: a pod that ends is no endpoint any more, whatever its sidecar has registered, and one
//! without a registration is one as soon as it is ready. A sidecar takes its own pod out, when its application is ill or when it
//! has said goodbye. Of a service with meshed pods those without a sidecar are called only while it is `Permissive`: the
//! mode in which others still call it in plaintext, too.

use usher_config::{
    model::{Endpoint, MtlsMode},
    value::{InstanceName, Name, ServiceName, SpiffeId, Weight},
};

use crate::{
    compile::{Backing, Compiled},
    registry::{
        instances::{Instance, Instances},
        places::{Place, Who},
    },
};

/// One of those who are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Present<'a> {
    /// As callers are told.
    pub endpoint: Endpoint,
    /// What its sidecar has registered.
    pub said: Option<&'a Instance>,
    /// It has no sidecar.
    pub is_listed: bool,
}

/// Everybody of a service, whose identity it still expects.
pub fn present<'a>(
    compiled: &Compiled,
    instances: &'a Instances,
    service: &ServiceName,
) -> Vec<Present<'a>> {
    let of = Of {
        compiled,
        instances,
        service,
    };
    let registered = instances.of(service);
    let registered = registered.filter_map(|(name, instance)| of.registered(name, instance));
    let placed = instances.placed.of(service).into_iter().flatten();
    let placed = placed.filter_map(|(name, place)| match &place.who {
        Who::Sidecar { account } => of.meshed(name, place, account),
        Who::Alone { .. } => of.alone(name, place),
    });
    let listed = compiled.listed.get(service).into_iter().flatten();
    let listed = listed.map(|(_, endpoint)| Present {
        endpoint: endpoint.clone(),
        said: None,
        is_listed: true,
    });
    registered.chain(placed).chain(listed).collect()
}

/// A service and all that is known.
#[derive(Clone, Copy)]
struct Of<'a, 'c> {
    compiled: &'c Compiled,
    instances: &'a Instances,
    service: &'c ServiceName,
}

impl<'a> Of<'a, '_> {
    /// What only its sidecar says; `None`: the cluster knows better, or its identity may not be this service any more.
    fn registered(self, name: &Name, instance: &'a Instance) -> Option<Present<'a>> {
        let placed = &self.instances.placed;
        let is_placed = placed
            .of(self.service)
            .is_some_and(|places| places.contains_key(name));
        if is_placed || placed.is_of_pods(&instance.identity) {
            return None;
        }
        let backing = self.compiled.backing_of(&instance.identity, self.service)?;
        Some(Present {
            endpoint: Endpoint {
                name: self.named(name),
                address: instance.address,
                address_is_own: instance.address_is_own,
                meshed: true,
                weight: backing.weight,
                zone: first([&instance.zone, &backing.zone]),
                healthy: instance.healthy,
                ports: Vec::new(),
            },
            said: Some(instance),
            is_listed: false,
        })
    }

    /// A pod with a sidecar.
    fn meshed(self, name: &Name, place: &Place, account: &Name) -> Option<Present<'a>> {
        let backing = self.backing(account)?;
        let full = self.named(name);
        if self.instances.placed.has_left(&full) {
            return None;
        }
        let said = self.said(name, &backing.identity);
        let zone = said.map_or("", |said| said.zone.as_str());
        Some(Present {
            endpoint: Endpoint {
                name: full,
                address: place.address,
                // The API server says whose address it is.
                address_is_own: true,
                meshed: true,
                weight: backing.weight,
                zone: first([&place.zone, zone, &backing.zone]),
                healthy: place.ready && said.is_none_or(|said| said.healthy),
                ports: Vec::new(),
            },
            said,
            is_listed: false,
        })
    }

    /// Somebody without one.
    fn alone(self, name: &Name, place: &Place) -> Option<Present<'a>> {
        let Who::Alone { port } = place.who else {
            return None;
        };
        let is_meshed = self.compiled.backing.contains_key(self.service);
        let inbound = self.compiled.inbound.get(self.service);
        let is_permissive = inbound.is_some_and(|policy| policy.mtls == MtlsMode::Permissive);
        if is_meshed && !is_permissive {
            return None;
        }
        let declared = self.compiled.services.get(self.service)?.port(port.get())?;
        Some(Present {
            endpoint: Endpoint {
                name: self.named(name),
                address: place.address,
                // Who dials the address itself means whatever is there.
                address_is_own: false,
                meshed: declared.tls.is_some(),
                weight: Weight::ONE,
                zone: place.zone.clone(),
                healthy: place.ready,
                ports: vec![port],
            },
            said: None,
            is_listed: true,
        })
    }

    fn named(self, instance: &Name) -> InstanceName {
        InstanceName {
            service: self.service.clone(),
            instance: instance.clone(),
        }
    }

    fn backing(&self, account: &Name) -> Option<&Backing> {
        let all = self.compiled.backing.get(self.service)?;
        all.iter().find(|one| one.service_account == *account)
    }

    /// What the sidecar there has registered.
    fn said(self, name: &Name, identity: &SpiffeId) -> Option<&'a Instance> {
        let instance = self.instances.get(self.service, name)?;
        (instance.identity == *identity).then_some(instance)
    }
}

/// The first one that says something.
fn first<const N: usize>(zones: [&str; N]) -> String {
    let found = zones.into_iter().find(|zone| !zone.is_empty());
    found.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
