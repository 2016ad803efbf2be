//! Whatever happens in whatever order, a proxy that applies what it is sent ends with what the server has.

mod model;

use proptest::prelude::*;

use crate::{snapshot::Configured, xds::Changes};

use super::*;
use model::{Both, Mesh, Step, asked, identity, resource, step};

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
    fn whom_no_change_concerns_would_be_told_nothing(
        steps in prop::collection::vec(step(), 0..40),
        changes in prop::collection::vec(step(), 0..4),
    ) {
        let mut both = Both::default();
        for step in steps {
            both.step(step);
        }
        both.settle();
        let before = both.mesh.snapshot();
        for step in changes.into_iter().filter(Step::is_of_the_mesh) {
            both.step(step);
        }
        let after = both.mesh.snapshot_after(&before);
        let changes = Changes::between(&before, &after);
        let concerns = |topic| {
            let mut names = both.server.names(topic);
            names.any(|name| changes.names.contains(&(topic, name.to_owned())))
        };
        if !Topic::ALL.into_iter().any(concerns) {
            prop_assert_eq!(both.server.difference(&after, &identity()), None);
        }
    }

    #[test]
    fn every_name_is_answered(steps in prop::collection::vec(step(), 0..40), service in 0..8u8) {
        let mut both = Both::default();
        for step in steps {
            both.step(step);
        }
        both.step(Step::Ask(Topic::Service, service));
        both.settle();
        let key = (Topic::Service, asked(Topic::Service, service));
        let is_held = both.proxy.holds.contains_key(&key) || both.proxy.meaning.contains_key(&key.1);
        prop_assert!(is_held || both.proxy.unknown.contains(&key));
    }
}

fn told(server: &mut Subscriptions, mesh: &Mesh) -> Vec<(Topic, Vec<String>, Vec<String>)> {
    let batch = server
        .difference(&mesh.snapshot(), &identity())
        .unwrap_or_default();
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
        server
            .subscribe(Topic::Endpoint, vec!["bank/s0/*".into()], [])
            .expect("few");
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
    let mesh = Mesh {
        services: [(0, 1)].into(),
        ..Mesh::default()
    };
    server
        .subscribe(Topic::Endpoint, vec!["bank/s0/*".into()], [])
        .expect("few");
    let batch = server
        .difference(&mesh.snapshot(), &identity())
        .expect("an answer");
    assert!(
        batch.parts.is_empty(),
        "the service has no endpoints, the closing alone says so"
    );
}

#[test]
fn what_a_proxy_brings_along_is_not_sent_again() {
    let mut server = Subscriptions::default();
    let mesh = Mesh {
        services: [(0, 1), (1, 2)].into(),
        ..Mesh::default()
    };
    let names = vec!["bank/s0".to_owned(), "bank/s1".into(), "bank/s2".into()];
    let versions = ["bank/s0", "bank/s1", "bank/s2"].map(|name| (name.to_owned(), "v1".to_owned()));
    server
        .subscribe(Topic::Service, names, versions)
        .expect("few");
    let told = told(&mut server, &mesh);
    assert_eq!(
        told,
        [(
            Topic::Service,
            vec!["bank/s1".to_owned()],
            vec!["bank/s2".to_owned()]
        )]
    );
}

#[test]
fn a_control_plane_that_has_just_started_takes_nothing_away_it_may_not_know_yet() {
    let mut server = Subscriptions::default();
    let mesh = Mesh {
        services: [(0, 1)].into(),
        ..Mesh::default()
    };
    let versions =
        [("bank/s0/i1", "v1"), ("bank/s0/i2", "v1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    server
        .subscribe(Topic::Endpoint, vec!["bank/s0/*".into()], versions)
        .expect("few");
    let withdrawn = BTreeSet::from(["bank/s0/i2".to_owned()]);
    let mut snapshot = Snapshot {
        settling: true,
        withdrawn,
        ..mesh.snapshot()
    };
    let batch = server
        .difference(&snapshot, &identity())
        .expect("an answer");
    assert_eq!(
        batch.parts[0].removed,
        ["bank/s0/i2"],
        "taken out on purpose"
    );
    snapshot.settling = false;
    let batch = server
        .difference(&snapshot, &identity())
        .expect("the grace is over");
    assert_eq!(batch.parts[0].removed, ["bank/s0/i1"]);
}

#[test]
fn what_was_on_the_way_to_a_proxy_that_asks_again_is_taken_back() {
    let mut both = Both::default();
    both.step(Step::Configure(0, 1));
    both.step(Step::Start(0, 1, 1));
    both.step(Step::Ask(Topic::Endpoint, 0));
    both.step(Step::Send);
    both.step(Step::Drop(Topic::Endpoint, 0));
    both.step(Step::Ask(Topic::Endpoint, 0));
    both.step(Step::Stop(0, 1));
    both.settle();
    assert_eq!(both.proxy.holds, BTreeMap::new());
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
    let stranger: SpiffeId = "spiffe://usher.local/ns/bank/sa/reporting"
        .parse()
        .expect("valid");
    for (who, shown) in [(identity(), 1), (stranger, 0)] {
        let mut server = Subscriptions::default();
        server
            .subscribe(Topic::InboundPolicy, vec!["bank/account".into()], [])
            .expect("few");
        let batch = server.difference(&snapshot, &who).expect("an answer");
        assert_eq!(batch.parts[0].resources.len(), shown);
        assert_eq!(batch.parts[0].removed.len(), 1 - shown);
    }
}

#[test]
fn a_proxy_too_old_for_tokens_is_told_to_let_nobody_in_where_one_is_required() {
    let mut snapshot = Mesh::default().snapshot();
    let name: Arc<str> = "bank/account".into();
    let told = |snapshot: &Snapshot, is_old: bool| {
        let mut server = Subscriptions::default();
        if is_old {
            server.understand_only(Understands::Access);
        }
        server
            .subscribe(Topic::InboundPolicy, vec!["bank/account".into()], [])
            .expect("few");
        let batch = server.difference(snapshot, &identity()).expect("an answer");
        batch.parts[0].resources[0].1.clone()
    };
    let mut configured = Configured {
        inbound: [(name.clone(), resource(1))].into(),
        identities: [(name.clone(), vec![identity()])].into(),
        ..Configured::default()
    };
    snapshot.configured = Arc::new(configured.clone());
    assert_eq!(told(&snapshot, true), resource(1));
    configured.for_old.closed = [(name, resource(2))].into();
    snapshot.configured = Arc::new(configured);
    assert_eq!(told(&snapshot, true), resource(2));
    assert_eq!(told(&snapshot, false), resource(1));
}

#[test]
fn what_was_refused_waits_for_another_configuration_and_the_rest_does_not() {
    let mut server = Subscriptions::default();
    let mut mesh = Mesh {
        services: [(0, 1)].into(),
        revision: 1,
        ..Mesh::default()
    };
    server
        .subscribe(Topic::Service, vec!["bank/s0".into()], [])
        .expect("few");
    server
        .subscribe(Topic::TrustBundle, vec!["*".into()], [])
        .expect("few");
    assert_eq!(told(&mut server, &mesh).len(), 2);
    server.refused(Topic::Service, vec!["bank/s0".into()], 1);
    server.doubt(Topic::TrustBundle, vec!["usher.local".into()]);
    assert!(!server.is_clean());
    let bundle = (Topic::TrustBundle, vec!["usher.local".to_owned()], vec![]);
    assert_eq!(told(&mut server, &mesh), [bundle]);
    assert!(
        server.difference(&mesh.snapshot(), &identity()).is_none(),
        "not in a loop"
    );
    mesh.revision = 2;
    assert_eq!(
        told(&mut server, &mesh),
        [(Topic::Service, vec!["bank/s0".to_owned()], vec![])]
    );
}

#[test]
fn a_proxy_cannot_fill_the_memory_with_names() {
    let mut server = Subscriptions::default();
    let many = (0..NAMES_MAX)
        .map(|number| format!("bank/s{number}"))
        .collect();
    server
        .subscribe(Topic::Service, many, [])
        .expect("just enough");
    let more = server.subscribe(Topic::Endpoint, vec!["bank/one/*".into()], []);
    assert_eq!(more, Err(SubscribeError::TooMany));
    let long = server.subscribe(Topic::Endpoint, vec!["x".repeat(200)], []);
    assert_eq!(long, Err(SubscribeError::NameTooLong));
}

#[test]
fn a_proxy_cannot_fill_the_memory_with_what_it_claims_to_hold() {
    let mut server = Subscriptions::default();
    let claimed = |from: usize| {
        (from..from + RESUMED_MAX).map(|number| (format!("bank/s0/i{number}"), "v1".to_owned()))
    };
    let all = vec!["bank/s0/*".to_owned()];
    server
        .subscribe(Topic::Endpoint, all.clone(), claimed(0))
        .expect("just enough");
    let more = server.subscribe(Topic::Endpoint, all, claimed(1));
    assert_eq!(more, Err(SubscribeError::TooManyResumed));
}

#[test]
fn an_address_is_answered_with_the_service_it_means_and_follows_it() {
    let mut server = Subscriptions::default();
    let mut mesh = Mesh {
        services: [(0, 1), (1, 1)].into(),
        addresses: [(7, 0)].into(),
        ..Mesh::default()
    };
    let address = "addr/240.240.0.7".to_owned();
    let names = vec![address.clone(), "addr/240.240.0.007".into()];
    server.subscribe(Topic::Service, names, []).expect("few");
    let batch = server
        .difference(&mesh.snapshot(), &identity())
        .expect("an answer");
    let [part] = &batch.parts[..] else {
        panic!("{batch:?}")
    };
    assert_eq!(part.resources[0].0, "bank/s0");
    assert_eq!(part.aliases["bank/s0"], BTreeSet::from([address.clone()]));
    assert_eq!(part.removed, ["addr/240.240.0.007"], "one spelling");

    mesh.addresses.insert(7, 1);
    let moved = vec!["bank/s1".to_owned()];
    let left = vec!["bank/s0".to_owned()];
    assert_eq!(
        told(&mut server, &mesh),
        [(Topic::Service, moved.clone(), left)]
    );
    mesh.addresses.clear();
    let gone = [address, "bank/s1".to_owned()].to_vec();
    assert_eq!(told(&mut server, &mesh), [(Topic::Service, vec![], gone)]);
}

/// Ten thousand resources of one name.
fn brought(service: usize) -> impl Iterator<Item = (String, String)> {
    (0..10_000).map(move |instance| (format!("bank/s{service}/i{instance}"), "1".to_owned()))
}

#[test]
fn who_drops_names_for_ever_and_answers_nothing_is_ended() {
    let mut server = Subscriptions::default();
    let ended = (0..100).find(|service| {
        let names = vec![format!("bank/s{service}/*")];
        server
            .subscribe(Topic::Endpoint, names.clone(), brought(*service))
            .expect("few at once");
        server.unsubscribe(Topic::Endpoint, &names);
        server.bounded().is_err()
    });
    assert_eq!(ended, Some(2 * RESUMED_MAX / 10_000));
    server.nothing_in_flight();
    server.bounded().expect("answered: nothing is kept");
}

#[test]
fn who_refuses_everything_is_ended() {
    let mut server = Subscriptions::default();
    let ended = (0..100).find(|service| {
        let names = brought(*service).map(|(name, _)| name);
        server.refused(Topic::Endpoint, names.collect(), 1);
        server.bounded().is_err()
    });
    assert_eq!(ended, Some(2 * RESUMED_MAX / 10_000));
}
