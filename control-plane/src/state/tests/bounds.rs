//! A control plane that has seen much keeps no more than one that has seen little.

use usher_config::wire::discovery::Node;

use super::*;
use crate::xds::{Topic, subscription::Subscriptions};

/// How much there is of everything that comes and goes.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    revisions: usize,
    addresses: usize,
    objects: usize,
    said: usize,
    registered: usize,
    settling: usize,
    streams: usize,
    asked_for: usize,
    published: [usize; 3],
}

/// Once everything is published and settled.
fn kept(state: &State) -> Kept {
    state.publish(Instant::now() + SETTLING);
    let configuration = state.0.configuration.load();
    let snapshot = state.0.snapshots.borrow().clone();
    let registry = lock(&state.0.registry);
    Kept {
        revisions: configuration.revisions.len(),
        addresses: configuration.world.addresses.len(),
        objects: configuration.world.objects.len(),
        said: configuration.rejected.len() + configuration.remarks.of(&configuration.world).len(),
        registered: registry.instances.len(),
        settling: registry.dirty.len() + registry.withdrawn.len() + snapshot.withdrawn.len(),
        streams: state.0.connected.reports(0).len(),
        asked_for: state.0.connected.asked_for(),
        published: [
            snapshot.configured.services.len(),
            snapshot.endpoints.values().map(|set| set.len()).sum(),
            snapshot.addresses.values().map(|set| set.len()).sum(),
        ],
    }
}

/// A service that is there for one revision, now and then, beside the one that stays. How many deleted ones are
/// remembered is the addresses' own test.
async fn push(state: &State, number: usize) {
    let passing = SERVICE.replace("name: account,", &format!("name: s{},", number % 50));
    let files = [
        ("a.yaml".into(), SERVICE.to_owned()),
        ("b.yaml".into(), WORKLOAD.to_owned()),
        ("c.yaml".into(), passing),
    ];
    let parsed = usher_config::parse::parse_files(&files);
    let revision = state.apply(parsed, Path::new("")).await.expect("accepted");
    assert!(revision.is_some(), "each is another configuration");
}

#[tokio::test]
async fn many_revisions_leave_no_more_than_some() {
    let state = configured().await;
    let mut counted = Vec::new();
    for number in 0..250 {
        push(&state, number).await;
        if [149, 249].contains(&number) {
            counted.push(kept(&state));
        }
    }
    assert_eq!(counted[0], counted[1]);
    assert_eq!(counted[0].revisions, crate::registry::store::HISTORY);
}

#[tokio::test]
async fn thousands_of_instances_that_came_and_went_leave_nothing() {
    let state = configured().await;
    let before = kept(&state);
    for number in 0..2_000 {
        let name = format!("bank/account/i{number}");
        let name: InstanceName = name.parse().expect("valid");
        let lease = state.register(&name, instance()).expect("room");
        let node = Node {
            id: name.to_string(),
            ..Node::default()
        };
        let (stream, _) = state.connected().joined(&node, &identity(), String::new());
        let mut subscriptions = Subscriptions::default();
        let names = vec![format!("{name}/*")];
        let asked = subscriptions.subscribe(Topic::Endpoint, names.clone(), []);
        asked.expect("few");
        state
            .connected()
            .subscribed(stream, Topic::Endpoint, &names);
        if number % 100 == 0 {
            state.publish(Instant::now());
        }
        state
            .deregister(&name, &lease, &identity())
            .expect("leased");
        state.connected().left(stream, &subscriptions);
    }
    assert_eq!(kept(&state), before);
}
