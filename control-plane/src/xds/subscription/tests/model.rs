//! A server and a proxy in small, and everything that can happen between them.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;
use usher_config::model::Revision;

use crate::snapshot::{Configured, EndpointSet};

use super::super::*;

pub(super) fn identity() -> SpiffeId {
    "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid")
}

pub(super) fn resource(version: u8) -> Resource {
    Resource {
        version: format!("v{version}").into(),
        body: Bytes::new(),
    }
}

/// The server's side in small: four services that may exist, each with four instances that may.
#[derive(Debug, Clone, Default)]
pub(super) struct Mesh {
    pub(super) services: BTreeMap<u8, u8>,
    pub(super) instances: BTreeMap<(u8, u8), u8>,
    /// What each of four addresses means: a service that may exist.
    pub(super) addresses: BTreeMap<u8, u8>,
    pub(super) bundle: u8,
    pub(super) revision: u64,
}

impl Mesh {
    pub(super) fn snapshot(&self) -> Snapshot {
        let name = |number: &u8| -> Arc<str> { format!("bank/s{number}").into() };
        let services: BTreeMap<Arc<str>, Resource> = self
            .services
            .iter()
            .map(|(number, version)| (name(number), resource(*version)))
            .collect();
        let endpoints = self.services.keys().map(|service| {
            let set: EndpointSet = self
                .instances
                .iter()
                .filter(|((of, _), _)| of == service)
                .map(|((_, number), version)| {
                    (format!("bank/s{service}/i{number}"), resource(*version))
                })
                .collect();
            (name(service), Arc::new(set))
        });
        Snapshot {
            endpoints: endpoints.collect(),
            trust_bundle: Some(("usher.local".into(), resource(self.bundle))),
            configured: Arc::new(Configured {
                revision: Revision {
                    number: self.revision,
                    digest: String::new(),
                },
                services,
                virtual_addresses: self
                    .addresses
                    .iter()
                    .map(|(number, service)| {
                        let address = std::net::IpAddr::from([240, 240, 0, *number]);
                        (address, vec![name(service)])
                    })
                    .collect(),
                ..Configured::default()
            }),
            ..Snapshot::default()
        }
    }

    /// The same, in which what is as it was before is the same value.
    pub(super) fn snapshot_after(&self, before: &Snapshot) -> Snapshot {
        let mut after = self.snapshot();
        for (service, set) in &mut after.endpoints {
            if let Some(same) = before
                .endpoints
                .get(service)
                .filter(|known| **known == *set)
            {
                *set = same.clone();
            }
        }
        after
    }

    /// What a proxy with these subscriptions should hold.
    pub(super) fn visible(
        &self,
        names: &BTreeSet<(Topic, String)>,
    ) -> BTreeMap<(Topic, String), String> {
        let snapshot = self.snapshot();
        let mut visible = BTreeMap::new();
        let mut put = |topic, name: &str, resource: &Resource| {
            visible.insert((topic, name.to_owned()), resource.version.to_string());
        };
        for (topic, name) in names {
            match topic {
                Topic::TrustBundle => put(*topic, "usher.local", &resource(self.bundle)),
                Topic::Service => {
                    let meant = name.strip_prefix("addr/240.240.0.").map(|number| {
                        let service = self.addresses.get(&number.parse().expect("a number"));
                        format!("bank/s{}", service.copied().unwrap_or(99))
                    });
                    let name = meant.as_ref().unwrap_or(name);
                    if let Some(found) = snapshot.configured.services.get(name.as_str()) {
                        put(*topic, name, found);
                    }
                }
                Topic::Endpoint => {
                    let service = name.strip_suffix("/*").expect("a set");
                    for (name, found) in snapshot
                        .endpoints
                        .get(service)
                        .into_iter()
                        .flat_map(|set| set.iter())
                    {
                        put(*topic, name, found);
                    }
                }
                Topic::InboundPolicy | Topic::Gateway => {}
            }
        }
        visible
    }
}

/// The proxy's side: applies a batch whole or refuses it whole.
#[derive(Debug, Default)]
pub(super) struct Proxy {
    pub(super) asked: BTreeSet<(Topic, String)>,
    pub(super) holds: BTreeMap<(Topic, String), String>,
    /// Answered "there is no such thing".
    pub(super) unknown: BTreeSet<(Topic, String)>,
    /// What each address asked for means.
    pub(super) meaning: BTreeMap<String, String>,
}

impl Proxy {
    fn asks_for(&self, topic: Topic, name: &str) -> bool {
        self.asked
            .iter()
            .any(|(of, asked)| *of == topic && covers(asked, name))
    }

    fn apply(&mut self, batch: &Batch) {
        for part in &batch.parts {
            for (name, resource) in &part.resources {
                self.meaning.retain(|_, meant| meant != name);
                for alias in part.aliases.get(name).into_iter().flatten() {
                    if self.asks_for(part.topic, alias) {
                        self.unknown.remove(&(part.topic, alias.clone()));
                        self.meaning.insert(alias.clone(), name.clone());
                    }
                }
                let is_meant = self.meaning.values().any(|meant| meant == name);
                if is_meant || self.asks_for(part.topic, name) {
                    let key = (part.topic, name.clone());
                    self.unknown.remove(&key);
                    self.holds.insert(key, resource.version.to_string());
                }
            }
            for name in &part.removed {
                let key = (part.topic, name.clone());
                self.holds.remove(&key);
                self.meaning.remove(name);
                self.meaning.retain(|_, meant| meant != name);
                self.unknown.insert(key);
            }
        }
        self.let_go();
    }

    /// Drops services to which nothing asked for leads any more.
    fn let_go(&mut self) {
        let (asked, meaning) = (&self.asked, &self.meaning);
        self.holds.retain(|(topic, name), _| {
            *topic != Topic::Service
                || asked.contains(&(*topic, name.clone()))
                || meaning.values().any(|meant| meant == name)
        });
    }
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Configure(u8, u8),
    Delete(u8),
    Start(u8, u8, u8),
    Stop(u8, u8),
    Rotate(u8),
    Address(u8, u8),
    Ask(Topic, u8),
    Drop(Topic, u8),
    Send,
    Accept,
    Refuse(u8),
    Reconnect,
}

impl Step {
    /// It changes what there is, not what somebody asks or answers.
    pub(super) fn is_of_the_mesh(&self) -> bool {
        matches!(
            self,
            Self::Configure(..)
                | Self::Delete(_)
                | Self::Start(..)
                | Self::Stop(..)
                | Self::Rotate(_)
                | Self::Address(..)
        )
    }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let topic = prop_oneof![
        Just(Topic::Service),
        Just(Topic::Endpoint),
        Just(Topic::TrustBundle)
    ];
    prop_oneof![
        (0..4u8, 0..4u8).prop_map(|(service, version)| Step::Configure(service, version)),
        (0..4u8).prop_map(Step::Delete),
        (0..4u8, 0..4u8, 0..4u8)
            .prop_map(|(service, number, version)| Step::Start(service, number, version)),
        (0..4u8, 0..4u8).prop_map(|(service, number)| Step::Stop(service, number)),
        (0..4u8).prop_map(Step::Rotate),
        (0..4u8, 0..4u8).prop_map(|(address, service)| Step::Address(address, service)),
        (topic.clone(), 0..8u8).prop_map(|(topic, service)| Step::Ask(topic, service)),
        (topic, 0..8u8).prop_map(|(topic, service)| Step::Drop(topic, service)),
        Just(Step::Send),
        Just(Step::Send),
        Just(Step::Accept),
        Just(Step::Accept),
        (0..3u8).prop_map(Step::Refuse),
        Just(Step::Reconnect),
    ]
}

pub(super) fn asked(topic: Topic, service: u8) -> String {
    match topic {
        Topic::TrustBundle => "*".to_owned(),
        Topic::Endpoint => format!("bank/s{service}/*"),
        Topic::Service if service >= 4 => format!("addr/240.240.0.{}", service - 4),
        Topic::Service | Topic::InboundPolicy | Topic::Gateway => format!("bank/s{service}"),
    }
}

#[derive(Default)]
pub(super) struct Both {
    pub(super) mesh: Mesh,
    pub(super) server: Subscriptions,
    pub(super) proxy: Proxy,
    pub(super) flying: VecDeque<Batch>,
}

impl Both {
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Configure(service, version) => {
                self.mesh.services.insert(service, version);
                self.mesh.revision += 1;
            }
            Step::Delete(service) => {
                self.mesh.services.remove(&service);
                self.mesh.revision += 1;
            }
            Step::Start(service, number, version) => {
                self.mesh.instances.insert((service, number), version);
            }
            Step::Stop(service, number) => {
                self.mesh.instances.remove(&(service, number));
            }
            Step::Address(address, service) => {
                self.mesh.addresses.insert(address, service);
                self.mesh.revision += 1;
            }
            Step::Rotate(version) => self.mesh.bundle = version,
            Step::Ask(topic, service) => {
                let name = asked(topic, service);
                self.server
                    .subscribe(topic, vec![name.clone()], [])
                    .expect("few");
                self.proxy.asked.insert((topic, name));
            }
            Step::Drop(topic, service) => {
                let name = asked(topic, service);
                self.server.unsubscribe(topic, std::slice::from_ref(&name));
                self.proxy.asked.remove(&(topic, name.clone()));
                self.proxy
                    .holds
                    .retain(|(of, held), _| *of != topic || !covers(&name, held));
                if topic == Topic::Service {
                    self.proxy.meaning.remove(&name);
                    self.proxy.let_go();
                }
            }
            Step::Send => {
                let batch = self.server.difference(&self.mesh.snapshot(), &identity());
                self.flying.extend(batch);
            }
            Step::Accept => self.answer(None),
            Step::Refuse(part) => self.answer(Some(part)),
            Step::Reconnect => self.reconnect(),
        }
    }

    fn answer(&mut self, refused: Option<u8>) {
        let Some(batch) = self.flying.pop_front() else {
            return;
        };
        let names = |part: &Part| {
            let resources = part.resources.iter().map(|(name, _)| name.clone());
            resources
                .chain(part.removed.iter().cloned())
                .collect::<Vec<_>>()
        };
        match refused.filter(|_| !batch.parts.is_empty()) {
            None => self.proxy.apply(&batch),
            Some(culprit) => {
                let culprit = usize::from(culprit) % batch.parts.len();
                for (index, part) in batch.parts.iter().enumerate() {
                    if index == culprit {
                        self.server
                            .refused(part.topic, names(part), self.mesh.revision);
                    }
                }
                for (index, part) in batch.parts.iter().enumerate() {
                    if index != culprit {
                        self.server.doubt(part.topic, names(part));
                    }
                }
            }
        }
        if self.flying.is_empty() {
            self.server.nothing_in_flight();
        }
    }

    fn reconnect(&mut self) {
        self.flying.clear();
        self.server = Subscriptions::default();
        for topic in Topic::ALL {
            let names: Vec<String> = self
                .proxy
                .asked
                .iter()
                .filter(|(of, _)| *of == topic)
                .map(|(_, name)| name.clone())
                .collect();
            let held = self.proxy.holds.iter().filter(|((of, _), _)| *of == topic);
            let versions: Vec<_> = held
                .map(|((_, name), version)| (name.clone(), version.clone()))
                .collect();
            if !names.is_empty() {
                self.server.subscribe(topic, names, versions).expect("few");
            }
        }
    }

    pub(super) fn settle(&mut self) {
        // A change of configuration, so that what was refused is tried again.
        self.mesh.revision += 1;
        for _ in 0..20 {
            self.step(Step::Send);
            if self.flying.is_empty() {
                return;
            }
            while !self.flying.is_empty() {
                self.answer(None);
            }
        }
        panic!("the server never stops sending");
    }
}
