//! EndpointSlices and pods → places of services. Pure.
//!
//! A slice says who wants requests, the pod whether a sidecar is there and whose account it has. An address that a slice has of
//! its own is never called as a pod: who may write slices could have calls sent elsewhere. A pod whose sidecar answers as
//! another service is no place of this one, meshed or not: it would refuse its callers.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use usher_config::{
    kind::Service,
    value::{Name, Port, ServiceName},
};

use crate::registry::{
    instances::INSTANCES_MAX,
    places::{Place, PlacesOf, Who, instance_at},
};

use super::{
    pod::Pod,
    slice::{Endpoint, Slice},
};

/// Where sidecars take calls.
const INBOUND: u16 = 15006;

/// Of one namespace.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) places: BTreeMap<ServiceName, PlacesOf>,
    /// Services, and as what else a sidecar of one of their pods answers.
    pub(super) strangers: BTreeMap<ServiceName, Name>,
}

/// What there is in a namespace.
pub(super) struct There<'t> {
    pub(super) services: BTreeMap<&'t Name, &'t Service>,
    pub(super) slices: Vec<&'t Slice>,
    pub(super) pods: HashMap<&'t str, &'t Pod>,
}

impl There<'_> {
    pub(super) fn placed(&self, namespace: &Name) -> Placed {
        let with_address = self.pods.values();
        let by_address: HashMap<IpAddr, (&str, &Pod)> = with_address
            .zip(self.pods.keys())
            .filter_map(|(pod, name)| Some((pod.address?, (*name, *pod))))
            .collect();
        let mut placed = Placed::default();
        for slice in &self.slices {
            let Some(service) = self.services.get(&slice.service) else {
                continue;
            };
            let name = ServiceName {
                namespace: namespace.clone(),
                name: slice.service.clone(),
            };
            let ports = served(service, slice);
            let mut of = OfService {
                name: &name,
                ports: &ports,
                strangers: &mut placed.strangers,
                places: PlacesOf::default(),
            };
            for endpoint in slice.endpoints.iter().filter(|endpoint| !endpoint.ends) {
                let named = endpoint.pod.as_deref();
                let named = named.and_then(|pod| self.pods.get_key_value(pod));
                let named = named.map(|(name, pod)| (*name, *pod));
                let mut at = endpoint.addresses.iter();
                let pod = named.or_else(|| at.find_map(|at| by_address.get(at).copied()));
                match pod {
                    Some((name, pod)) if pod.is_meshed => of.meshed(endpoint, (name, pod)),
                    Some(_) => of.alone(endpoint),
                    // A pod that is gone, or not told of yet, may have been one with a sidecar.
                    None if endpoint.pod.is_some() => {}
                    None => of.alone(endpoint),
                }
            }
            let found = of.places;
            let all = placed.places.entry(name).or_default();
            for (name, place) in found {
                if all.len() < INSTANCES_MAX {
                    // Two slices may name one place while one takes over from the other.
                    all.entry(name).or_insert(place);
                }
            }
        }
        placed
    }
}

/// Where it listens, and which port of the Service that is.
fn served(service: &Service, slice: &Slice) -> Vec<(Port, Port)> {
    let ports = slice.ports.iter().filter_map(|(name, listens)| {
        let mut declared = service.spec.ports.iter();
        let declared = declared.find(|one| one.name == *name)?;
        Some((*listens, declared.port))
    });
    ports.collect()
}

struct OfService<'o> {
    name: &'o ServiceName,
    ports: &'o [(Port, Port)],
    strangers: &'o mut BTreeMap<ServiceName, Name>,
    places: PlacesOf,
}

impl OfService<'_> {
    fn meshed(&mut self, endpoint: &Endpoint, (name, pod): (&str, &Pod)) {
        if pod.service != self.name.name {
            let stranger = (self.name.clone(), pod.service.clone());
            self.strangers.entry(stranger.0).or_insert(stranger.1);
            return;
        }
        let Some(address) = pod.address.filter(|_| pod.serves && !pod.ends) else {
            return;
        };
        // Longer names than an instance may have, or such with dots, stand for themselves by their addresses.
        let instance = name.parse().ok();
        let instance = instance.or_else(|| {
            let port = self.ports.first()?.1;
            instance_at(address, (Port::try_from(u32::from(INBOUND)).ok()?, port))
        });
        let place = Place {
            address: SocketAddr::new(address, INBOUND),
            ready: endpoint.ready,
            zone: endpoint.zone.to_string(),
            who: Who::Sidecar {
                account: pod.account.clone(),
            },
        };
        self.places.extend(instance.map(|name| (name, place)));
    }

    fn alone(&mut self, endpoint: &Endpoint) {
        for address in &endpoint.addresses {
            for (listens, port) in self.ports {
                let place = Place {
                    address: SocketAddr::new(*address, listens.get()),
                    ready: endpoint.ready,
                    zone: endpoint.zone.to_string(),
                    who: Who::Alone { port: *port },
                };
                let name = instance_at(*address, (*listens, *port));
                self.places.extend(name.map(|name| (name, place)));
            }
        }
    }
}
