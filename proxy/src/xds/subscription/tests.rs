//! The subscription against a model of the control plane: whole batches only, and in the end the same knowledge.

mod addresses;
mod model;
mod upgraded;

use proptest::prelude::*;

use usher_config::{
    model::{Revision, Service},
    wire::v1,
};

use super::*;
use model::*;

#[derive(Debug, Clone)]
enum Step {
    SetService(usize),
    RemoveService(usize),
    SetEndpoint(usize, usize),
    RemoveEndpoint(usize, usize),
    Ask(usize),
    Push,
    Deliver,
    Reconnect,
    Disconnect,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (s, i) = (0..6_usize, 0..3_usize);
    prop_oneof![
        3 => s.clone().prop_map(Step::SetService),
        1 => s.clone().prop_map(Step::RemoveService),
        3 => (s.clone(), i.clone()).prop_map(|(s, i)| Step::SetEndpoint(s, i)),
        1 => (s.clone(), i).prop_map(|(s, i)| Step::RemoveEndpoint(s, i)),
        3 => s.prop_map(Step::Ask),
        4 => Just(Step::Push),
        6 => Just(Step::Deliver),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Disconnect),
        1 => (0..200_u64).prop_map(Step::Wait),
    ]
}

fn play(rig: &mut Rig, step: Step) {
    let server = &mut rig.server;
    server.generation += 1;
    let generation = server.generation;
    match step {
        Step::SetService(s) => drop(server.services.insert(name(s).to_string(), generation)),
        Step::RemoveService(s) => drop(server.services.remove(&name(s).to_string())),
        Step::SetEndpoint(s, i) => drop(
            server
                .endpoints
                .insert(format!("{}/i{i}", name(s)), generation),
        ),
        Step::RemoveEndpoint(s, i) => drop(server.endpoints.remove(&format!("{}/i{i}", name(s)))),
        Step::Ask(s) => drop(rig.ask(&name(s))),
        Step::Push if rig.connected => server.push(),
        Step::Push => {}
        Step::Deliver => drop(rig.deliver()),
        Step::Reconnect => rig.connect(),
        Step::Disconnect => {
            rig.connected = false;
            rig.subscription.closed();
            rig.server.reconnect();
        }
        Step::Wait(seconds) => rig.advance(Duration::from_secs(seconds)),
    }
}

proptest! {
    #[test]
    fn in_the_end_we_hold_what_the_control_plane_has(steps in prop::collection::vec(step(), 0..80)) {
        let mut rig = Rig::new();
        for step in steps {
            play(&mut rig, step);
        }
        for service in rig.dialled.clone() {
            rig.ask(&service);
        }
        rig.connect();
        rig.settle();
        // What a new server did not know is taken at its word in the end; meanwhile all is still dialled.
        for service in rig.dialled.clone() {
            rig.ask(&service);
        }
        rig.advance(NEW_SERVER_GRACE);
        rig.settle();

        let mut wanted = rig.dialled.clone();
        if wanted.contains(&name(0)) && rig.server.services.contains_key("n/s0") {
            wanted.insert(name(1));
        }
        let expected: BTreeMap<ServiceName, Service> = wanted
            .iter()
            .filter_map(|name| Some((name.clone(), *rig.server.services.get(&name.to_string())?)))
            .map(|(name, generation)| {
                let index = name.name.as_str()[1..].parse().unwrap();
                (name, service(index, generation))
            })
            .collect();
        prop_assert_eq!(&rig.applied.services, &expected);
        let endpoints: BTreeMap<String, String> = rig
            .server
            .endpoints
            .iter()
            .filter(|(name, _)| expected.contains_key(&name.parse::<InstanceName>().unwrap().service))
            .map(|(name, generation)| (name.clone(), format!("z{generation}")))
            .collect();
        let applied: BTreeMap<String, String> =
            rig.applied.endpoints.iter().map(|(name, e)| (name.to_string(), e.zone.clone())).collect();
        prop_assert_eq!(applied, endpoints);
        prop_assert!(rig.server.unanswered.is_empty(), "every response is answered");
    }
}

#[test]
fn nothing_counts_before_its_revision() {
    let mut rig = Rig::new();
    rig.connect();
    rig.server.services.insert("n/s2".into(), 1);
    rig.server.endpoints.insert("n/s2/i0".into(), 1);
    assert_eq!(rig.ask(&name(2)), None);
    rig.server.push();
    assert!(rig.server.outbox.len() > 1);
    while rig.server.outbox.len() > 1 {
        assert!(rig.deliver().is_empty());
        assert!(rig.applied.services.is_empty());
    }
    assert_eq!(rig.deliver(), [(name(2), Resolution::Found)]);
    assert_eq!(rig.applied.endpoints.len(), 1);
}

#[test]
fn an_unknown_service_is_unknown_for_five_seconds_and_then_asked_for_again() {
    let mut rig = Rig::new();
    rig.connect();
    assert_eq!(rig.ask(&name(3)), None);
    rig.server.push();
    assert_eq!(rig.deliver(), [(name(3), Resolution::Unknown)]);
    rig.settle();
    assert_eq!(rig.ask(&name(3)), Some(Resolution::Unknown));
    rig.advance(NEGATIVE_TTL);
    assert_eq!(rig.ask(&name(3)), None);
    rig.server.push();
    assert_eq!(rig.deliver(), [(name(3), Resolution::Unknown)]);
}

#[test]
fn a_service_that_was_deleted_is_as_unknown_as_one_that_never_was() {
    for at_once in [true, false] {
        let mut rig = Rig::new();
        rig.connect();
        rig.server.services.insert("n/s3".into(), 1);
        rig.ask(&name(3));
        rig.settle();
        rig.server.services.clear();
        if !at_once {
            rig.connect();
            rig.settle();
            rig.advance(NEW_SERVER_GRACE);
        }
        rig.settle();
        assert_eq!(rig.ask(&name(3)), Some(Resolution::Unknown));
        rig.advance(NEGATIVE_TTL);
        assert_eq!(rig.ask(&name(3)), None);
        rig.server.push();
        assert_eq!(rig.deliver(), [(name(3), Resolution::Unknown)]);
        rig.settle();
        rig.server.services.insert("n/s3".into(), 2);
        rig.settle();
        assert_eq!(rig.ask(&name(3)), Some(Resolution::Found));
    }
}

#[test]
fn a_service_that_appears_later_arrives_by_itself() {
    let mut rig = Rig::new();
    rig.connect();
    rig.ask(&name(3));
    rig.settle();
    rig.server.services.insert("n/s3".into(), 7);
    rig.settle();
    assert_eq!(rig.ask(&name(3)), Some(Resolution::Found));
}

#[test]
fn where_a_service_leads_is_asked_for_at_once() {
    let mut rig = Rig::new();
    rig.connect();
    rig.server.services.insert("n/s0".into(), 1);
    rig.server.services.insert("n/s1".into(), 1);
    rig.ask(&name(0));
    rig.settle();
    assert!(rig.applied.services.contains_key(&name(1)));
}

#[test]
fn what_nobody_dials_for_ten_minutes_is_dropped_with_what_it_leads_to() {
    let mut rig = Rig::new();
    rig.connect();
    rig.server.services.insert("n/s0".into(), 1);
    rig.server.services.insert("n/s1".into(), 1);
    rig.ask(&name(0));
    rig.settle();
    rig.advance(Duration::from_secs(599));
    assert_eq!(rig.applied.services.len(), 2);
    rig.advance(Duration::from_secs(1));
    assert!(rig.applied.services.is_empty());
    assert!(rig.server.names[type_url::SERVICE].is_empty());
    assert!(rig.server.names[type_url::ENDPOINT].is_empty());
}

#[test]
fn a_new_control_plane_takes_nothing_away_for_five_minutes() {
    let mut rig = Rig::new();
    rig.connect();
    rig.server.services.insert("n/s2".into(), 1);
    rig.server.endpoints.insert("n/s2/i0".into(), 1);
    rig.server.endpoints.insert("n/s2/i1".into(), 1);
    rig.ask(&name(2));
    rig.settle();

    rig.server.endpoints.clear();
    rig.connect();
    rig.settle();
    assert_eq!(
        rig.applied.endpoints.len(),
        2,
        "the new one may just not know them yet"
    );
    rig.server.endpoints.insert("n/s2/i1".into(), 2);
    rig.settle();
    rig.advance(NEW_SERVER_GRACE - Duration::from_secs(1));
    assert_eq!(rig.applied.endpoints.len(), 2);
    rig.advance(Duration::from_secs(1));
    let left: Vec<String> = rig
        .applied
        .endpoints
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(left, ["n/s2/i1"], "what came back stays, the other is gone");

    rig.server.endpoints.clear();
    rig.settle();
    assert!(
        rig.applied.endpoints.is_empty(),
        "what this server itself has told it takes back at once"
    );
}

#[test]
fn a_service_that_a_later_revision_lacks_was_deleted_and_goes_at_once() {
    for (generation, stays) in [(6, 0), (5, 1), (4, 1)] {
        let mut rig = Rig::new();
        rig.connect();
        rig.server.generation = 5;
        rig.server.services.insert("n/s2".into(), 1);
        rig.ask(&name(2));
        rig.settle();
        assert_eq!(rig.applied.services.len(), 1);

        rig.server.services.clear();
        rig.server.generation = generation;
        rig.connect();
        rig.settle();
        assert_eq!(
            rig.applied.services.len(),
            stays,
            "revision {generation} after 5"
        );
    }
}

#[test]
fn a_bad_resource_is_refused_by_name_and_its_neighbours_count() {
    let mut rig = Rig::new();
    rig.connect();
    rig.ask(&name(2));
    rig.ask(&name(3));
    let mut bad = content("n/s3", 1);
    bad.resource.as_mut().unwrap().value = vec![0xff];
    let response = DeltaDiscoveryResponse {
        type_url: type_url::SERVICE.to_owned(),
        resources: vec![content("n/s2", 1), bad],
        nonce: "a".into(),
        ..Default::default()
    };
    let effects = rig.subscription.receive(response, rig.now);
    let nack = effects
        .requests
        .iter()
        .find(|request| request.response_nonce == "a")
        .unwrap();
    let message = &nack.error_detail.as_ref().unwrap().message;
    assert!(
        message.starts_with("n/s3: ") && !message.contains("n/s2"),
        "{message}"
    );
    assert_eq!(effects.answers, [(name(3), Resolution::Unknown)]);

    let revision = Revision {
        number: 4,
        digest: "d".repeat(64),
    };
    let closing = DeltaDiscoveryResponse {
        type_url: type_url::REVISION.to_owned(),
        resources: vec![wire(
            type_url::REVISION,
            "mesh",
            4,
            v1::Revision::from(&revision),
        )],
        nonce: "b".into(),
        ..Default::default()
    };
    let change = rig.subscription.receive(closing, rig.now).change.unwrap();
    assert_eq!(change.services.len(), 1);
    assert_eq!(change.revision, Some(revision));
}

#[test]
fn a_restart_brings_back_what_was_known_and_resumes_with_its_versions() {
    let mut rig = Rig::new();
    rig.connect();
    rig.server.services.insert("n/s2".into(), 5);
    rig.server.endpoints.insert("n/s2/i0".into(), 6);
    rig.ask(&name(2));
    rig.settle();
    let bytes = super::super::last_known_good::encode(&rig.subscription);

    let mut restarted = Subscription::new("n/own".parse().unwrap(), "i", []);
    let change = super::super::last_known_good::decode(&bytes, &mut restarted, rig.now).unwrap();
    assert_eq!(restarted.known(), rig.subscription.known());
    let mut applied = Applied::default();
    applied.apply(change);
    assert_eq!(applied.services, rig.applied.services);
    assert_eq!(applied.endpoints, rig.applied.endpoints);
    let requests = restarted.opened(rig.now);
    let services = requests
        .iter()
        .find(|request| request.type_url == type_url::SERVICE)
        .unwrap();
    assert_eq!(services.initial_resource_versions["n/s2"], "5");
}

#[test]
fn a_state_directory_that_another_service_had_lets_in_nobody() {
    let policy = usher_config::model::InboundPolicy {
        service: "n/own".parse().unwrap(),
        mtls: Default::default(),
        ports: Vec::new(),
        access: Vec::new(),
        rate_limits: Vec::new(),
        authentication: None,
        claim_headers: Vec::new(),
        gateways: Vec::new(),
        health_check: None,
        telemetry: Default::default(),
        idle: None,
        outbound: Default::default(),
        path_reading: Default::default(),
        zone: String::new(),
    };
    for (service, taken) in [("n/own", true), ("n/other", false)] {
        let mut subscription = Subscription::new(service.parse().unwrap(), "i", []);
        let staged = Staged {
            inbound: Some(crate::xds::known::Versioned {
                version: "1".to_owned(),
                model: policy.clone(),
            }),
            ..Staged::default()
        };
        let change = subscription.restore(staged, Instant::now());
        let known = subscription.known().inbound.is_some();
        assert_eq!(
            (change.inbound.is_some(), known),
            (taken, taken),
            "{service}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_on_disk_stop_a_start(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut subscription = Subscription::new("n/own".parse().unwrap(), "i", []);
        super::super::last_known_good::decode(&bytes, &mut subscription, Instant::now());
    }
}
