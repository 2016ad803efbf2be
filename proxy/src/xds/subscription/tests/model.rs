//! A model of the control plane, and what requests see, for the subscription's tests.

use std::collections::VecDeque;

use prost::Message;
use prost_types::Any;
use usher_config::{
    model::{
        Backend, BackendTarget, Endpoint, Protocol, Revision, Route, Service, ServicePort,
        ServiceTarget, StreamRoute,
    },
    value::Weight,
    wire::{discovery::Resource, v1},
};

use super::super::*;

/// The world of the tests: services `n/s0` … `n/s5`; `s0` leads to `s1`.
pub(super) fn name(index: usize) -> ServiceName {
    format!("n/s{index}").parse().unwrap()
}

pub(super) fn service(index: usize, generation: u64) -> Service {
    let target = ServiceTarget {
        service: name(1),
        port: "80".parse().unwrap(),
    };
    let backend = Backend {
        weight: Weight::ONE,
        target: BackendTarget::Service(target),
        filters: None,
    };
    // In turn by its requests and by its connections.
    let leads = |way| Vec::from_iter((index == 0 && way).then(|| backend.clone()));
    let stream = StreamRoute {
        name: format!("s{generation}").into(),
        callers: None,
        ports: Vec::new(),
        hostname: None,
        backends: leads(!generation.is_multiple_of(2)),
    };
    let route = Route {
        name: format!("r{generation}").into(),
        ports: Vec::new(),
        hostnames: Vec::new(),
        matches: Default::default(),
        backends: leads(generation.is_multiple_of(2)).into(),
        policy: Default::default(),
        filters: None,
        callers: None,
    };
    Service {
        name: name(index),
        virtual_addresses: Vec::new(),
        ports: vec![ServicePort {
            name: "http".parse().unwrap(),
            port: "80".parse().unwrap(),
            protocol: Protocol::Http1,
            tls: None,
        }],
        identities: Vec::new(),
        policy: Default::default(),
        routes: vec![route],
        streams: vec![stream],
    }
}

pub(super) fn endpoint(index: usize, instance: usize, generation: u64) -> Endpoint {
    Endpoint {
        name: format!("n/s{index}/i{instance}").parse().unwrap(),
        address: ([127, 0, 0, 1], 1000 + u16::try_from(instance).unwrap()).into(),
        address_is_own: true,
        meshed: true,
        weight: Weight::ONE,
        zone: format!("z{generation}"),
        healthy: true,
        ports: Vec::new(),
    }
}

pub(super) fn wire<W: Message>(type_url: &str, name: &str, version: u64, message: W) -> Resource {
    Resource {
        version: version.to_string(),
        resource: Some(Any {
            type_url: type_url.to_owned(),
            value: message.encode_to_vec(),
        }),
        name: name.to_owned(),
        aliases: Vec::new(),
    }
}

/// Name → generation in which it changed last.
pub(super) type World = BTreeMap<String, u64>;

/// A control plane that answers as ours does: changed resources, then a `Revision`.
#[derive(Default)]
pub(super) struct Server {
    pub(super) services: World,
    pub(super) endpoints: World,
    pub(super) generation: u64,
    /// Per type URL: names asked for, and what was told of them.
    pub(super) names: BTreeMap<String, BTreeSet<String>>,
    pub(super) told: BTreeMap<String, World>,
    pub(super) due: bool,
    pub(super) outbox: VecDeque<DeltaDiscoveryResponse>,
    pub(super) unanswered: BTreeSet<String>,
    pub(super) nonce: u64,
}

impl Server {
    pub(super) fn reconnect(&mut self) {
        self.names.clear();
        self.told.clear();
        self.outbox.clear();
        self.unanswered.clear();
        self.due = false;
    }

    pub(super) fn request(&mut self, request: DeltaDiscoveryRequest) {
        if !request.response_nonce.is_empty() {
            assert!(
                self.unanswered.remove(&request.response_nonce),
                "answered twice"
            );
            assert_eq!(request.error_detail, None);
        }
        let names = self.names.entry(request.type_url.clone()).or_default();
        let told = self.told.entry(request.type_url.clone()).or_default();
        for name in &request.resource_names_unsubscribe {
            names.remove(name);
            let prefix = name.trim_end_matches('*');
            told.retain(|other, _| {
                other != name && !(name.ends_with('*') && other.starts_with(prefix))
            });
        }
        for name in request.resource_names_subscribe {
            told.remove(&name);
            self.due = true;
            names.insert(name);
        }
        for (name, version) in request.initial_resource_versions {
            told.insert(name, version.parse().unwrap());
        }
    }

    pub(super) fn push(&mut self) {
        let mut responses = Vec::new();
        for type_url in [type_url::SERVICE, type_url::ENDPOINT] {
            let empty = BTreeSet::new();
            let names = self.names.get(type_url).unwrap_or(&empty).clone();
            let told = self.told.entry(type_url.to_owned()).or_default();
            let world = if type_url == type_url::SERVICE {
                &self.services
            } else {
                &self.endpoints
            };
            let covered = |name: &String| {
                names.contains(name)
                    || names.contains(&format!("{}/*", name.rsplit_once('/').unwrap().0))
            };
            let mut response = DeltaDiscoveryResponse {
                type_url: type_url.to_owned(),
                ..Default::default()
            };
            for (name, version) in world.iter().filter(|(name, _)| covered(name)) {
                if told.insert(name.clone(), *version) != Some(*version) {
                    response.resources.push(content(name, *version));
                }
            }
            let gone: Vec<String> = told
                .iter()
                .filter(|(name, version)| **version > 0 && !world.contains_key(*name))
                .map(|(n, _)| n.clone())
                .collect();
            for name in gone {
                told.remove(&name);
                response.removed_resources.push(name);
            }
            for name in names
                .iter()
                .filter(|name| !name.ends_with('*') && !world.contains_key(*name))
            {
                if told.insert(name.clone(), 0) != Some(0)
                    && !response.removed_resources.contains(name)
                {
                    response.removed_resources.push(name.clone());
                }
            }
            if !response.resources.is_empty() || !response.removed_resources.is_empty() {
                responses.push(response);
            }
        }
        if responses.is_empty() && !self.due {
            return;
        }
        self.due = false;
        let revision = Revision {
            number: self.generation,
            digest: "d".repeat(64),
        };
        responses.push(DeltaDiscoveryResponse {
            type_url: type_url::REVISION.to_owned(),
            resources: vec![wire(
                type_url::REVISION,
                "mesh",
                self.generation,
                v1::Revision::from(&revision),
            )],
            ..Default::default()
        });
        for mut response in responses {
            self.nonce += 1;
            response.nonce = self.nonce.to_string();
            self.unanswered.insert(response.nonce.clone());
            self.outbox.push_back(response);
        }
    }
}

pub(super) fn content(name: &str, version: u64) -> Resource {
    let digit = |part: &str| part[1..].parse::<usize>().unwrap();
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [_, service_name] => wire(
            type_url::SERVICE,
            name,
            version,
            v1::Service::from(&service(digit(service_name), version)),
        ),
        [_, service_name, instance] => {
            let endpoint = endpoint(digit(service_name), digit(instance), version);
            wire(
                type_url::ENDPOINT,
                name,
                version,
                v1::Endpoint::from(&endpoint),
            )
        }
        _ => panic!("{name}"),
    }
}

/// What requests see: changes applied, as the snapshot does it.
#[derive(Default, Debug)]
pub(super) struct Applied {
    pub(super) services: BTreeMap<ServiceName, Service>,
    pub(super) endpoints: BTreeMap<InstanceName, Endpoint>,
}

impl Applied {
    pub(super) fn apply(&mut self, change: Change) {
        for (name, service) in change.services {
            match service {
                Some(service) => drop(self.services.insert(name, service)),
                None => {
                    self.services.remove(&name);
                    self.endpoints
                        .retain(|endpoint, _| endpoint.service != name);
                }
            }
        }
        for (name, endpoint) in change.endpoints {
            match endpoint {
                Some(endpoint) if self.services.contains_key(&name.service) => {
                    self.endpoints.insert(name, endpoint);
                }
                _ => drop(self.endpoints.remove(&name)),
            }
        }
    }
}

pub(super) struct Rig {
    pub(super) subscription: Subscription,
    pub(super) server: Server,
    pub(super) applied: Applied,
    pub(super) connected: bool,
    pub(super) now: Instant,
    pub(super) dialled: BTreeSet<ServiceName>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            subscription: Subscription::new("n/own".parse().unwrap(), "i", []),
            server: Server::default(),
            applied: Applied::default(),
            connected: false,
            now: Instant::now(),
            dialled: BTreeSet::new(),
        }
    }

    pub(super) fn perform(&mut self, effects: Effects) {
        if let Some(change) = effects.change {
            self.applied.apply(change);
        }
        self.send(effects.requests);
    }

    pub(super) fn send(&mut self, requests: Vec<DeltaDiscoveryRequest>) {
        if self.connected {
            for request in requests {
                self.server.request(request);
            }
        }
    }

    pub(super) fn connect(&mut self) {
        self.subscription.closed();
        self.server.reconnect();
        self.connected = true;
        let requests = self.subscription.opened(self.now);
        assert!(
            requests.first().unwrap().node.is_some(),
            "the first request names the node"
        );
        self.send(requests);
    }

    pub(super) fn ask(&mut self, service: &ServiceName) -> Option<Resolution> {
        self.dialled.insert(service.clone());
        match self.subscription.ask(service, self.now) {
            Asked::Answered(resolution) => Some(resolution),
            Asked::Waits(requests) => {
                self.send(requests);
                None
            }
        }
    }

    pub(super) fn deliver(&mut self) -> Vec<(ServiceName, Resolution)> {
        let Some(response) = self.server.outbox.pop_front() else {
            return Vec::new();
        };
        let effects = self.subscription.receive(response, self.now);
        let answers = effects.answers.clone();
        self.perform(effects);
        answers
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..64 {
            self.server.push();
            while !self.server.outbox.is_empty() {
                self.deliver();
            }
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        let effects = self.subscription.tick(self.now);
        self.perform(effects);
    }
}
