//! Whatever happens in whatever order, a proxy that applies what it is sent ends with what the server has.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;
use usher_config::model::Revision;

use crate::snapshot::Configured;

use super::*;

fn identity() -> SpiffeId {
    "spiffe://usher.local/ns/bank/sa/account".parse().expect("valid")
}

fn resource(version: u8) -> Resource {
    Resource { version: format!("v{version}").into(), body: Bytes::new() }
}

/// The server's side in small: four services that may exist, each with four instances that may.
#[derive(Debug, Clone, Default)]
struct Mesh {
    services: BTreeMap<u8, u8>,
    instances: BTreeMap<(u8, u8), u8>,
    bundle: u8,
    revision: u64,
}

impl Mesh {
    fn snapshot(&self) -> Snapshot {
        let name = |number: &u8| -> Arc<str> { format!("bank/s{number}").into() };
        let services: BTreeMap<Arc<str>, Resource> =
            self.services.iter().map(|(number, version)| (name(number), resource(*version))).collect();
        let endpoints = self.services.keys().map(|service| {
            let set: EndpointSet = self
                .instances
                .iter()
                .filter(|((of, _), _)| of == service)
                .map(|((_, number), version)| (format!("bank/s{service}/i{number}"), resource(*version)))
                .collect();
            (name(service), Arc::new(set))
        });
        Snapshot {
            endpoints: endpoints.collect(),
            trust_bundle: Some(("usher.local".into(), resource(self.bundle))),
            configured: Arc::new(Configured {
                revision: Revision { number: self.revision, digest: String::new() },
                services,
                ..Configured::default()
            }),
            ..Snapshot::default()
        }
    }

    /// What a proxy with these subscriptions should hold.
    fn visible(&self, names: &BTreeSet<(Topic, String)>) -> BTreeMap<(Topic, String), String> {
        let snapshot = self.snapshot();
        let mut visible = BTreeMap::new();
        let mut put = |topic, name: &str, resource: &Resource| {
            visible.insert((topic, name.to_owned()), resource.version.to_string());
        };
        for (topic, name) in names {
            match topic {
                Topic::TrustBundle => put(*topic, "usher.local", &resource(self.bundle)),
                Topic::Service => {
                    if let Some(found) = snapshot.configured.services.get(name.as_str()) {
                        put(*topic, name, found);
                    }
                }
                Topic::Endpoint => {
                    let service = name.strip_suffix("/*").expect("a set");
                    for (name, found) in snapshot.endpoints.get(service).into_iter().flat_map(|set| set.iter()) {
                        put(*topic, name, found);
                    }
                }
                Topic::InboundPolicy => {}
            }
        }
        visible
    }
}

/// The proxy's side: applies a batch whole or refuses it whole.
#[derive(Debug, Default)]
struct Proxy {
    asked: BTreeSet<(Topic, String)>,
    holds: BTreeMap<(Topic, String), String>,
    /// Answered "there is no such thing".
    unknown: BTreeSet<(Topic, String)>,
}

impl Proxy {
    fn asks_for(&self, topic: Topic, name: &str) -> bool {
        self.asked.iter().any(|(of, asked)| *of == topic && covers(asked, name))
    }

    fn apply(&mut self, batch: &Batch) {
        for part in &batch.parts {
            for (name, resource) in &part.resources {
                if self.asks_for(part.topic, name) {
                    let key = (part.topic, name.clone());
                    self.unknown.remove(&key);
                    self.holds.insert(key, resource.version.to_string());
                }
            }
            for name in &part.removed {
                let key = (part.topic, name.clone());
                self.holds.remove(&key);
                self.unknown.insert(key);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Configure(u8, u8),
    Delete(u8),
    Start(u8, u8, u8),
    Stop(u8, u8),
    Rotate(u8),
    Ask(Topic, u8),
    Drop(Topic, u8),
    Send,
    Accept,
    Refuse(u8),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let topic = prop_oneof![Just(Topic::Service), Just(Topic::Endpoint), Just(Topic::TrustBundle)];
    prop_oneof![
        (0..4u8, 0..4u8).prop_map(|(service, version)| Step::Configure(service, version)),
        (0..4u8).prop_map(Step::Delete),
        (0..4u8, 0..4u8, 0..4u8).prop_map(|(service, number, version)| Step::Start(service, number, version)),
        (0..4u8, 0..4u8).prop_map(|(service, number)| Step::Stop(service, number)),
        (0..4u8).prop_map(Step::Rotate),
        (topic.clone(), 0..4u8).prop_map(|(topic, service)| Step::Ask(topic, service)),
        (topic, 0..4u8).prop_map(|(topic, service)| Step::Drop(topic, service)),
        Just(Step::Send),
        Just(Step::Send),
        Just(Step::Accept),
        Just(Step::Accept),
        (0..3u8).prop_map(Step::Refuse),
        Just(Step::Reconnect),
    ]
}

fn asked(topic: Topic, service: u8) -> String {
    match topic {
        Topic::TrustBundle => "*".to_owned(),
        Topic::Endpoint => format!("bank/s{service}/*"),
        Topic::Service | Topic::InboundPolicy => format!("bank/s{service}"),
    }
}

#[derive(Default)]
struct Both {
    mesh: Mesh,
    server: Subscriptions,
    proxy: Proxy,
    flying: VecDeque<Batch>,
}

impl Both {
    fn step(&mut self, step: Step) {
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
            Step::Rotate(version) => self.mesh.bundle = version,
            Step::Ask(topic, service) => {
                let name = asked(topic, service);
                self.server.subscribe(topic, vec![name.clone()], []).expect("few");
                self.proxy.asked.insert((topic, name));
            }
            Step::Drop(topic, service) => {
                let name = asked(topic, service);
                self.server.unsubscribe(topic, std::slice::from_ref(&name));
                self.proxy.asked.remove(&(topic, name.clone()));
                self.proxy.holds.retain(|(of, held), _| *of != topic || !covers(&name, held));
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
        let Some(batch) = self.flying.pop_front() else { return };
        let names = |part: &Part| {
            let resources = part.resources.iter().map(|(name, _)| name.clone());
            resources.chain(part.removed.iter().cloned()).collect::<Vec<_>>()
        };
        match refused.filter(|_| !batch.parts.is_empty()) {
            None => self.proxy.apply(&batch),
            Some(culprit) => {
                let culprit = usize::from(culprit) % batch.parts.len();
                for (index, part) in batch.parts.iter().enumerate() {
                    if index == culprit {
                        self.server.refused(part.topic, names(part), self.mesh.revision);
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
            let names: Vec<String> =
                self.proxy.asked.iter().filter(|(of, _)| *of == topic).map(|(_, name)| name.clone()).collect();
            let held = self.proxy.holds.iter().filter(|((of, _), _)| *of == topic);
            let versions: Vec<_> =
                held.map(|((_, name), version)| (name.clone(), version.clone())).collect();
            if !names.is_empty() {
                self.server.subscribe(topic, names, versions).expect("few");
            }
        }
    }

    fn settle(&mut self) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_proxy_ends_with_what_the_server_has(steps in prop::collection::vec(step(), 0..60)) {
        let mut both = Both::default();
        for step in steps {
            both.step(step);
        }
        both.settle();
        prop_assert_eq!(&both.proxy.holds, &both.mesh.visible(&both.proxy.asked));
        prop_assert!(both.server.is_clean());
    }

    #[test]
    fn every_name_is_answered(steps in prop::collection::vec(step(), 0..40), service in 0..4u8) {
        let mut both = Both::default();
        for step in steps {
            both.step(step);
        }
        both.step(Step::Ask(Topic::Service, service));
        both.settle();
        let key = (Topic::Service, asked(Topic::Service, service));
        prop_assert!(both.proxy.holds.contains_key(&key) || both.proxy.unknown.contains(&key));
    }
}

fn told(server: &mut Subscriptions, mesh: &Mesh) -> Vec<(Topic, Vec<String>, Vec<String>)> {
    let batch = server.difference(&mesh.snapshot(), &identity()).unwrap_or_default();
    let parts = batch.parts.into_iter();
    parts
        .map(|part| {
            let names = part.resources.into_iter().map(|(name, _)| name).collect();
            (part.topic, names, part.removed)
        })
        .collect()
}

#[test]
fn an_unknown_name_is_answered_at_once_and_again_only_if_asked_again() {
    let (mut server, mesh) = (Subscriptions::default(), Mesh::default());
    let ask = |server: &mut Subscriptions| {
        server.subscribe(Topic::Endpoint, vec!["bank/s0/*".into()], []).expect("few");
    };
    let answer = vec![(Topic::Endpoint, vec![], vec!["bank/s0/*".to_owned()])];
    ask(&mut server);
    assert_eq!(told(&mut server, &mesh), answer);
    assert!(server.difference(&mesh.snapshot(), &identity()).is_none());
    ask(&mut server);
    assert_eq!(told(&mut server, &mesh), answer);
}

#[test]
fn a_question_that_changes_nothing_is_still_answered() {
    let mut server = Subscriptions::default();
    let mesh = Mesh { services: [(0, 1)].into(), ..Mesh::default() };
    server.subscribe(Topic::Endpoint, vec!["bank/s0/*".into()], []).expect("few");
    let batch = server.difference(&mesh.snapshot(), &identity()).expect("an answer");
    assert!(batch.parts.is_empty(), "the service has no endpoints, the closing alone says so");
}

#[test]
fn what_a_proxy_brings_along_is_not_sent_again() {
    let mut server = Subscriptions::default();
    let mesh = Mesh { services: [(0, 1), (1, 2)].into(), ..Mesh::default() };
    let names = vec!["bank/s0".to_owned(), "bank/s1".into(), "bank/s2".into()];
    let versions = ["bank/s0", "bank/s1", "bank/s2"].map(|name| (name.to_owned(), "v1".to_owned()));
    server.subscribe(Topic::Service, names, versions).expect("few");
    let told = told(&mut server, &mesh);
    assert_eq!(told, [(Topic::Service, vec!["bank/s1".to_owned()], vec!["bank/s2".to_owned()])]);
}

#[test]
fn a_control_plane_that_has_just_started_takes_nothing_away_it_may_not_know_yet() {
    let mut server = Subscriptions::default();
    let mesh = Mesh { services: [(0, 1)].into(), ..Mesh::default() };
    let versions = [("bank/s0/i1", "v1"), ("bank/s0/i2", "v1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    server.subscribe(Topic::Endpoint, vec!["bank/s0/*".into()], versions).expect("few");
    let withdrawn = BTreeSet::from(["bank/s0/i2".to_owned()]);
    let mut snapshot = Snapshot { settling: true, withdrawn, ..mesh.snapshot() };
    let batch = server.difference(&snapshot, &identity()).expect("an answer");
    assert_eq!(batch.parts[0].removed, ["bank/s0/i2"], "taken out on purpose");
    snapshot.settling = false;
    let batch = server.difference(&snapshot, &identity()).expect("the grace is over");
    assert_eq!(batch.parts[0].removed, ["bank/s0/i1"]);
}

#[test]
fn an_inbound_policy_is_shown_only_to_its_own_service() {
    let mut snapshot = Mesh::default().snapshot();
    let name: Arc<str> = "bank/account".into();
    snapshot.configured = Arc::new(Configured {
        inbound: [(name.clone(), resource(1))].into(),
        identities: [(name, vec![identity()])].into(),
        ..Configured::default()
    });
    let stranger: SpiffeId = "spiffe://usher.local/ns/bank/sa/reporting".parse().expect("valid");
    for (who, shown) in [(identity(), 1), (stranger, 0)] {
        let mut server = Subscriptions::default();
        server.subscribe(Topic::InboundPolicy, vec!["bank/account".into()], []).expect("few");
        let batch = server.difference(&snapshot, &who).expect("an answer");
        assert_eq!(batch.parts[0].resources.len(), shown);
        assert_eq!(batch.parts[0].removed.len(), 1 - shown);
    }
}

#[test]
fn what_was_refused_waits_for_another_configuration_and_the_rest_does_not() {
    let mut server = Subscriptions::default();
    let mut mesh = Mesh { services: [(0, 1)].into(), revision: 1, ..Mesh::default() };
    server.subscribe(Topic::Service, vec!["bank/s0".into()], []).expect("few");
    server.subscribe(Topic::TrustBundle, vec!["*".into()], []).expect("few");
    assert_eq!(told(&mut server, &mesh).len(), 2);
    server.refused(Topic::Service, vec!["bank/s0".into()], 1);
    server.doubt(Topic::TrustBundle, vec!["usher.local".into()]);
    assert!(!server.is_clean());
    let bundle = (Topic::TrustBundle, vec!["usher.local".to_owned()], vec![]);
    assert_eq!(told(&mut server, &mesh), [bundle]);
    assert!(server.difference(&mesh.snapshot(), &identity()).is_none(), "not in a loop");
    mesh.revision = 2;
    assert_eq!(told(&mut server, &mesh), [(Topic::Service, vec!["bank/s0".to_owned()], vec![])]);
}

#[test]
fn a_proxy_cannot_fill_the_memory_with_names() {
    let mut server = Subscriptions::default();
    let many = (0..NAMES_MAX).map(|number| format!("bank/s{number}")).collect();
    server.subscribe(Topic::Service, many, []).expect("just enough");
    let more = server.subscribe(Topic::Endpoint, vec!["bank/one/*".into()], []);
    assert_eq!(more, Err(SubscribeError::TooMany));
    let long = server.subscribe(Topic::Endpoint, vec!["x".repeat(200)], []);
    assert_eq!(long, Err(SubscribeError::NameTooLong));
}
