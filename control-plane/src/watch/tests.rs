//! Following the changes leads from what was to what is, and a watcher that does not listen is given up.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    registry::MemoryStore,
    status::{Change, EndpointReport},
};

fn service(name: &str, port: u16, instances: &[(String, bool)]) -> ServiceReport {
    let endpoints = instances.iter().map(|(name, healthy)| EndpointReport {
        instance: name.clone(),
        address: "127.0.0.1:1".parse().expect("valid"),
        healthy: *healthy,
        health_reason: String::new(),
        zone: String::new(),
        revision: 0,
        listed: false,
    });
    ServiceReport {
        namespace: "bank".to_owned(),
        name: name.to_owned(),
        ports: vec![port],
        endpoints: endpoints.collect(),
        ..ServiceReport::default()
    }
}

fn meshes() -> impl Strategy<Value = Vec<ServiceReport>> {
    let instances = proptest::collection::btree_map("[a-c]", any::<bool>(), 0..3);
    let services = proptest::collection::btree_map("[x-z]", (1_u16..3, instances), 0..4);
    services.prop_map(|services| {
        let services = services.into_iter().map(|(name, (port, instances))| {
            service(&name, port, &instances.into_iter().collect::<Vec<_>>())
        });
        services.collect()
    })
}

fn filters() -> impl Strategy<Value = Filter> {
    (
        proptest::option::of("[x-z]"),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(service, healthy)| Filter {
            service,
            healthy,
            ..Filter::default()
        })
}

/// By service: its ports, and its instances with their health.
type Known = BTreeMap<String, (Vec<u16>, BTreeMap<String, bool>)>;

fn known(services: &[ServiceReport], filter: &Filter) -> Known {
    let wanted = services.iter().filter(|service| filter.takes(service));
    let known = wanted.map(|service| {
        let instances = service.endpoints.iter();
        let instances = instances.filter(|instance| filter.takes_instance(instance));
        let instances = instances.map(|one| (one.instance.clone(), one.healthy));
        (
            service.name.clone(),
            (service.ports.clone(), instances.collect()),
        )
    });
    known.collect()
}

/// What somebody knows who has only heard of changes; panics at one that makes no sense.
fn follow(known: &mut Known, changes: Vec<ChangeReport>) {
    for change in changes {
        match change.instance {
            None => match change.change {
                Change::Added => {
                    let new = (change.ports, BTreeMap::new());
                    assert_eq!(known.insert(change.service, new), None);
                }
                Change::Changed => {
                    known.get_mut(&change.service).expect("known").0 = change.ports;
                }
                Change::Removed => {
                    let (_, instances) = known.remove(&change.service).expect("known");
                    assert!(instances.is_empty(), "its instances went before it");
                }
            },
            Some(instance) => {
                let (_, instances) = known.get_mut(&change.service).expect("service first");
                let before = match change.change {
                    Change::Added | Change::Changed => {
                        instances.insert(instance.instance, instance.healthy)
                    }
                    Change::Removed => instances.remove(&instance.instance),
                };
                assert_eq!(before.is_some(), change.change != Change::Added);
            }
        }
    }
}

proptest! {
    #[test]
    fn changes_lead_from_what_was_to_what_is(
        meshes in proptest::collection::vec(meshes(), 1..5),
        filter in filters(),
    ) {
        let (mut said, mut heard) = (Vec::new(), Known::new());
        for mesh in meshes {
            let now = keeping(&said, mesh.clone());
            for service in &now {
                let is_kept = said.iter().any(|known| Arc::ptr_eq(known, service));
                prop_assert_eq!(is_kept, said.contains(service));
            }
            follow(&mut heard, difference(&said, &now, &filter));
            prop_assert_eq!(&heard, &known(&mesh, &filter));
            let equal = keeping(&[], mesh);
            prop_assert_eq!(difference(&now, &equal, &filter), vec![]);
            said = now;
        }
    }
}

fn watchers() -> (Watchers, watch::Sender<bool>) {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let (stop, stopping) = watch::channel(false);
    (Watchers::new(state, stopping), stop)
}

fn proven(account: usize) -> Asker {
    let identity = format!("spiffe://usher.local/ns/bank/sa/a{account}");
    Asker::Proven(identity.parse().expect("valid"))
}

#[tokio::test]
async fn one_identity_has_few_watches_until_one_goes() {
    let (watchers, _stop) = watchers();
    let watch = |asker: &Asker| watchers.watch(asker, Filter::default());
    let mut all: Vec<Watch> = (0..4).flat_map(|_| watch(&proven(1))).collect();
    assert_eq!(all.len(), 4);
    assert_eq!(watch(&proven(1)).err(), Some(TooMany::Share));
    assert!(watch(&proven(2)).is_ok());
    let far = Asker::at([10, 0, 0, 1].into());
    all.extend((0..4).flat_map(|_| watch(&far)));
    assert_eq!(watch(&far).err(), Some(TooMany::Share));
    all.clear();
    while watch(&proven(1)).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn workloads_leave_the_operator_room() {
    let (watchers, _stop) = watchers();
    let watch = |asker: &Asker| watchers.watch(asker, Filter::default());
    let workloads = (0..64).map(|account| watch(&proven(account)));
    let workloads: Vec<Watch> = workloads.flatten().collect();
    assert_eq!(workloads.len(), 48);
    assert_eq!(watch(&proven(64)).err(), Some(TooMany::All));
    let operators: Vec<Watch> = (0..64).flat_map(|_| watch(&Asker::Here)).collect();
    assert_eq!(operators.len(), 16);
    assert_eq!(watch(&Asker::Here).err(), Some(TooMany::All));
}

#[tokio::test]
async fn what_has_not_changed_is_not_compared_again() {
    let (watchers, _stop) = watchers();
    let mesh = "apiVersion: v1\nkind: Service\nmetadata: { name: account, namespace: bank }\n\
                spec: { selector: { app: account }, ports: [{ port: 80 }] }\n";
    let parsed = usher_config::parse::parse_files(&[("mesh.yaml".into(), mesh.to_owned())]);
    let applied = watchers.state.apply(parsed, std::path::Path::new(""));
    applied.await.expect("good");
    let (first, second) = (watchers.seen(1), watchers.seen(2));
    assert!(!Arc::ptr_eq(&first, &second), "another generation");
    assert!(Arc::ptr_eq(&first[0], &second[0]), "the same report");
}

#[tokio::test]
async fn a_watch_ends_with_the_server_and_says_so() {
    let (watchers, stop) = watchers();
    let mut watch = watchers
        .watch(&Asker::Here, Filter::default())
        .expect("room");
    assert_eq!(watch.next().await, Some(Told::Synced));
    stop.send_replace(true);
    assert_eq!(watch.next().await, Some(Told::Ended(STOPPED)));
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_given_up_and_hears_why() {
    let (watchers, _stop) = watchers();
    let (sender, receiver) = mpsc::channel(1);
    let place = watchers.room.take(&proven(1)).expect("room");
    sender.try_send(Told::Synced).expect("room");
    let watcher = Watcher {
        watchers: watchers.clone(),
        filter: Filter::default(),
        sender,
        _place: place,
    };
    let began = tokio::time::Instant::now();
    let why = watcher.run().await;
    assert!(why.contains("took nothing"), "{why}");
    assert!(began.elapsed() >= PATIENCE);
    let free: Vec<Place> = (0..4)
        .flat_map(|_| watchers.room.take(&proven(1)))
        .collect();
    assert_eq!(free.len(), 4, "its place is another's");
    drop(receiver);
}
