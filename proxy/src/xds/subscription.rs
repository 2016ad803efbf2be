//! Delta bookkeeping: what is subscribed, what has arrived, what to acknowledge. No I/O, no clock.
//!
//! The shell feeds it stream events, answers and questions and does what it says: first apply the change, then
//! send the requests (an acknowledgement means "applied"). Invariants, held by the property test: requests see
//! only whole batches; after the control plane has said everything, we hold exactly what it has for the
//! services wanted; every response is answered once. Protocol: xDS "incremental" with our resource types.

mod addresses;
mod messages;
mod restored;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use usher_config::{
    value::{InstanceName, ServiceName},
    wire::{
        client_feature,
        discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node},
        type_url,
    },
};

use crate::snapshot::Change;

use super::{
    discovery::Resolution,
    interest::Interest,
    known::{Known, Received, Staged},
};
use addresses::Addresses;
use messages::{answer, change_of, every_endpoint, node};

/// How long "there is no such service" holds without asking again.
pub const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// How long what we know survives a control plane that, on a new stream, does not know it: it may just have
/// started and not have heard of every instance yet. For services and gateways only if it does not show a later revision
/// than the one we know: else it knows that they are gone.
pub const NEW_SERVER_GRACE: Duration = Duration::from_secs(300);

/// What an event leads to; in this order: apply, then send, then answer.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the snapshot.
    pub change: Option<Change>,
    /// For the stream, if there is one.
    pub requests: Vec<DeltaDiscoveryRequest>,
    /// For everybody who waits for these services.
    pub answers: Vec<(ServiceName, Resolution)>,
    /// For everybody who waits to hear whom these mean.
    pub addresses: Vec<(IpAddr, Resolution)>,
}

/// What becomes of a question.
#[derive(Debug)]
pub enum Asked {
    /// It is known already.
    Answered(Resolution),
    /// Send these, then wait for [`Effects::answers`].
    Waits(Vec<DeltaDiscoveryRequest>),
}

/// Everything the stream must remember.
#[derive(Debug)]
pub struct Subscription {
    own: ServiceName,
    /// We are the gateway of that name.
    gateway: bool,
    node: Node,
    interest: Interest,
    known: Known,
    staged: Staged,
    /// What the current stream was asked for.
    subscribed: BTreeSet<ServiceName>,
    /// Services that the control plane does not have, and until when we believe it.
    unknown: BTreeMap<ServiceName, Instant>,
    /// What a new control plane did not know, and when that is taken at its word.
    missing: BTreeMap<Key, Instant>,
    addresses: Addresses,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    opened: Instant,
    /// Its first `Revision` is in: from now on the server takes back only what it has itself known.
    synchronised: bool,
    /// The node has been named.
    introduced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Service(ServiceName),
    Endpoint(InstanceName),
    Gateway,
}

impl Subscription {
    /// `own` is our own service and `instance` our name in it; `pinned` services are wanted whether dialled or not.
    pub fn new(
        own: ServiceName,
        instance: &str,
        pinned: impl IntoIterator<Item = ServiceName>,
    ) -> Self {
        Self {
            node: node(&own, instance),
            own,
            gateway: false,
            interest: Interest::new(pinned),
            known: Known::default(),
            staged: Staged::default(),
            subscribed: BTreeSet::new(),
            unknown: BTreeMap::new(),
            missing: BTreeMap::new(),
            addresses: Addresses::default(),
            stream: None,
        }
    }

    /// For the process that is the gateway of our own name.
    pub fn of_gateway(mut self) -> Self {
        self.gateway = true;
        self
    }

    /// For a sidecar that registers nothing.
    pub fn that_only_calls(mut self) -> Self {
        let features = &mut self.node.client_features;
        features.push(client_feature::ONLY_CALLS.to_owned());
        self
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// A new stream: asks for everything wanted, and says what we have of it.
    pub fn opened(&mut self, now: Instant) -> Vec<DeltaDiscoveryRequest> {
        self.staged = Staged::default();
        self.unknown.clear();
        self.stream = Some(Stream {
            opened: now,
            synchronised: false,
            introduced: false,
        });
        self.subscribed = self.wanted();
        let names = self.subscribed.iter().map(ToString::to_string);
        let services: Vec<String> = names.chain(self.addresses.names()).collect();
        let endpoints = self.subscribed.iter().map(every_endpoint).collect();
        let gateways = self.gateway.then(|| self.own.to_string());
        let mut requests = Vec::new();
        for (type_url, names) in [
            (type_url::TRUST_BUNDLE, vec!["*".to_owned()]),
            (type_url::INBOUND_POLICY, vec![self.own.to_string()]),
            (type_url::GATEWAY, gateways.into_iter().collect()),
            // Before their services: a service should not be seen without its endpoints.
            (type_url::ENDPOINT, endpoints),
            (type_url::SERVICE, services),
            (type_url::REVISION, vec!["*".to_owned()]),
        ] {
            if !names.is_empty() {
                requests.push(DeltaDiscoveryRequest {
                    type_url: type_url.to_owned(),
                    resource_names_subscribe: names,
                    initial_resource_versions: self
                        .known
                        .versions(type_url)
                        .into_iter()
                        .collect::<HashMap<_, _>>(),
                    ..Default::default()
                });
            }
        }
        self.introduce(requests)
    }

    /// The stream has ended. A half batch is worth nothing: the next stream will send it again.
    pub fn closed(&mut self) {
        self.stream = None;
        self.staged = Staged::default();
        self.subscribed.clear();
    }

    /// The application dials a service that the snapshot lacks.
    pub fn ask(&mut self, service: &ServiceName, now: Instant) -> Asked {
        self.interest.used(service, now);
        if self.known.services.contains_key(service) {
            return Asked::Answered(Resolution::Found);
        }
        match self.unknown.get(service) {
            Some(until) if now < *until => return Asked::Answered(Resolution::Unknown),
            Some(_) => {
                self.unknown.remove(service);
                if self.stream.is_some() && self.subscribed.contains(service) {
                    let again = change_of(type_url::SERVICE, vec![service.to_string()], Vec::new());
                    return Asked::Waits(self.introduce(vec![again]));
                }
            }
            None => {}
        }
        Asked::Waits(self.reconcile().requests)
    }

    /// The application has dialled a service that we know.
    pub fn used(&mut self, service: &ServiceName, now: Instant) {
        self.interest.used(service, now);
    }

    /// Time has passed: idle services go, and what a new control plane never learnt of. Nothing goes that could not be
    /// asked for again.
    pub fn tick(&mut self, now: Instant) -> Effects {
        if self.is_synchronised() {
            self.interest.expire(now);
        }
        let due: Vec<Key> = self
            .missing
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        let mut gone = Staged::default();
        for key in due {
            self.missing.remove(&key);
            match key {
                Key::Service(name) => {
                    self.unknown.insert(name.clone(), now + NEGATIVE_TTL);
                    gone.services.insert(name, None);
                }
                Key::Endpoint(name) => drop(gone.endpoints.insert(name, None)),
                Key::Gateway => gone.gateway = Some(None),
            }
        }
        let change = self.known.commit(gone);
        let mut effects = self.reconcile();
        let mut services = change.services;
        services.extend(effects.change.take().unwrap_or_default().services);
        if !services.is_empty() || !change.endpoints.is_empty() || change.gateway.is_some() {
            effects.change = Some(Change {
                services,
                endpoints: change.endpoints,
                gateway: change.gateway,
                ..Change::default()
            });
        }
        effects
    }

    /// The control plane has said something.
    pub fn receive(&mut self, response: DeltaDiscoveryResponse, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut mistakes = Vec::new();
        for resource in &response.resources {
            self.note_meaning(&response.type_url, resource, now);
            match Received::decode(&response.type_url, resource) {
                Ok(received) => self.stage(received),
                Err(mistake) => {
                    mistakes.push(format!("{}: {mistake}", resource.name));
                    // Whoever waits for it would wait in vain; a repaired one will arrive by itself.
                    self.not_there(
                        &response.type_url,
                        &resource.name,
                        now,
                        &mut effects.answers,
                    );
                }
            }
        }
        for name in &response.removed_resources {
            self.take_back(&response.type_url, name, now, &mut effects.answers);
            self.note_nobody(name, now, &mut effects);
        }
        if self.staged.revision.is_some() {
            self.commit(&mut effects, now);
            self.conclude_addresses(now, &mut effects);
        }
        effects.requests.push(answer(response, &mistakes));
        let wanted = self.reconcile();
        effects.requests.extend(wanted.requests);
        if let Some(dropped) = wanted.change {
            effects
                .change
                .get_or_insert_default()
                .services
                .extend(dropped.services);
        }
        effects
    }

    fn commit(&mut self, effects: &mut Effects, now: Instant) {
        let mut staged = std::mem::take(&mut self.staged);
        self.believe(&mut staged);
        for (name, service) in &staged.services {
            let resolution = if service.is_some() {
                self.unknown.remove(name);
                Resolution::Found
            } else {
                // Deleted: who dials it still need not wait for an answer that has come.
                self.unknown.insert(name.clone(), now + NEGATIVE_TTL);
                Resolution::Unknown
            };
            effects.answers.push((name.clone(), resolution));
        }
        effects.change = Some(self.known.commit(staged));
        self.synchronise(now);
    }

    fn stage(&mut self, received: Received) {
        match received {
            Received::Service(service) => {
                let name = service.model.name.clone();
                if self.subscribed.contains(&name) {
                    self.missing.remove(&Key::Service(name.clone()));
                    self.staged.services.insert(name, Some(service));
                }
            }
            Received::Endpoint(endpoint) => {
                let name = endpoint.model.name.clone();
                if self.subscribed.contains(&name.service) {
                    self.missing.remove(&Key::Endpoint(name.clone()));
                    self.staged.endpoints.insert(name, Some(endpoint));
                }
            }
            Received::InboundPolicy(policy) if policy.model.service == self.own => {
                self.staged.inbound = Some(policy);
            }
            Received::Gateway(gateway) if self.gateway && gateway.model.name == self.own => {
                self.missing.remove(&Key::Gateway);
                self.staged.gateway = Some(Some(gateway));
            }
            Received::InboundPolicy(_) | Received::Gateway(_) => {}
            Received::TrustBundle(bundle) => self.staged.trust = Some(bundle),
            Received::Revision(revision) => self.staged.revision = Some(revision),
        }
    }

    /// Roots and our own policy are only ever replaced: without them nothing would be safer.
    fn take_back(
        &mut self,
        type_url: &str,
        name: &str,
        now: Instant,
        answers: &mut Vec<(ServiceName, Resolution)>,
    ) {
        match type_url {
            type_url::SERVICE => match name.parse::<ServiceName>() {
                Ok(service) if self.known.services.contains_key(&service) => {
                    self.remove(Key::Service(service), now);
                }
                _ => self.not_there(type_url, name, now, answers),
            },
            type_url::GATEWAY if self.known.gateway.is_some() => self.remove(Key::Gateway, now),
            type_url::ENDPOINT => {
                let names: Vec<InstanceName> =
                    match name.strip_suffix("/*").map(str::parse::<ServiceName>) {
                        Some(Ok(service)) => self
                            .known
                            .endpoints_of(&service)
                            .map(|(name, _)| name.clone())
                            .collect(),
                        _ => name.parse().into_iter().collect(),
                    };
                for name in names {
                    self.remove(Key::Endpoint(name), now);
                }
            }
            _ => {}
        }
    }

    fn remove(&mut self, key: Key, now: Instant) {
        let opened = self
            .stream
            .as_ref()
            .filter(|stream| !stream.synchronised)
            .map(|stream| stream.opened);
        if let Some(opened) = opened {
            let until = (opened + NEW_SERVER_GRACE).max(now);
            self.missing.entry(key).or_insert(until);
            return;
        }
        self.missing.remove(&key);
        match key {
            Key::Service(name) => drop(self.staged.services.insert(name, None)),
            Key::Endpoint(name) => drop(self.staged.endpoints.insert(name, None)),
            Key::Gateway => self.staged.gateway = Some(None),
        }
    }
}

#[cfg(test)]
mod tests;
