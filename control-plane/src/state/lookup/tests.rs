//! Whoever asks about a service holds nobody up, and is told what sidecars are told.

use std::{path::Path, sync::mpsc, time::Duration};

use usher_config::parse::parse_files;

use super::*;
use crate::registry::{MemoryStore, instances::Instance};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: { name: account, namespace: bank }
spec: { selector: { app: account }, ports: [{ name: http, port: 80 }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: account, namespace: bank, labels: { app: account } }
spec: { serviceAccount: account }
";

fn account() -> ServiceName {
    "bank/account".parse().expect("valid")
}

fn register(state: &State, name: &str, healthy: bool) {
    let instance = Instance {
        address: ([10, 0, 0, 1], 15_006).into(),
        address_is_own: true,
        healthy,
        health_reason: String::new(),
        zone: "west".to_owned(),
        identity: "spiffe://usher.local/ns/bank/sa/account"
            .parse()
            .expect("valid"),
        revision: 0,
        callers: Default::default(),
    };
    let name = format!("bank/account/{name}").parse().expect("valid");
    state.register(&name, instance).expect("room");
}

/// Of which `a` and `b` are well and `ill` is not.
async fn mesh() -> (State, Lookup) {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    state.apply(parsed, Path::new("")).await.expect("good");
    for (name, healthy) in [("a", true), ("b", true), ("ill", false)] {
        register(&state, name, healthy);
    }
    state.publish(std::time::Instant::now());
    (state.clone(), Lookup::new(state))
}

fn names(lookup: &Lookup, wanted: Wanted<'_>) -> Vec<String> {
    let found = lookup.service(&account(), wanted).expect("there");
    let names = found
        .instances
        .iter()
        .map(|one| one.name.instance.to_string());
    names.collect()
}

#[tokio::test]
async fn instances_come_in_turns_and_as_they_registered() {
    let (state, lookup) = mesh().await;
    let healthy = |turn, most| names(&lookup, Wanted::Healthy { turn, most });
    assert_eq!(healthy(0, 9), ["a", "b"]);
    assert_eq!(healthy(3, 9), ["b", "a"]);
    assert_eq!(healthy(1, 1), ["b"]);
    let name = "ill".parse().expect("valid");
    let found = lookup
        .service(&account(), Wanted::One(&name))
        .expect("there");
    let all = state.endpoints();
    let registered = all[0].1.iter().find(|one| one.name.instance == name);
    assert_eq!(found.instances.first(), registered);
    assert!(names(&lookup, Wanted::Nobody).is_empty());
    let other = "bank/other".parse().expect("valid");
    assert_eq!(lookup.service(&other, Wanted::Nobody), None);
    register(&state, "c", true);
    state.publish(std::time::Instant::now());
    assert_eq!(healthy(0, 9), ["a", "b", "c"], "a change is seen");
}

#[tokio::test]
async fn questions_do_not_wait_for_the_registry_nor_it_for_them() {
    let (state, lookup) = mesh().await;
    let held = lock(&state.0.registry);
    let (sender, answers) = mpsc::channel();
    std::thread::spawn(move || {
        let name = "a".parse().expect("valid");
        for wanted in [
            Wanted::Healthy { turn: 0, most: 9 },
            Wanted::One(&name),
            Wanted::Nobody,
        ] {
            sender.send(names(&lookup, wanted).len()).expect("heard");
        }
    });
    for count in [2, 1, 0] {
        assert_eq!(answers.recv_timeout(Duration::from_secs(20)), Ok(count));
    }
    drop(held);
}

#[tokio::test]
async fn a_service_is_decoded_once_until_it_changes() {
    let (state, lookup) = mesh().await;
    let healthy = || lookup.instances(&account()).healthy;
    assert!(Arc::ptr_eq(&healthy(), &healthy()));
    register(&state, "c", true);
    state.publish(std::time::Instant::now());
    assert_eq!(healthy().len(), 3);
    assert_eq!(lock(&lookup.known).len(), 1, "what was is forgotten");
}

#[tokio::test]
async fn an_address_is_named_by_the_service_or_the_instances_that_are_there() {
    let (state, lookup) = mesh().await;
    let found = lookup.service(&account(), Wanted::Nobody).expect("there");
    let named = |address: IpAddr, most| lookup.named(address, most);
    let service = found.virtual_addresses[0];
    assert_eq!(named(service, 9), [Named::Service(account())]);
    let instance = |name: &str| {
        let name = format!("bank/account/{name}");
        Named::Instance(name.parse().expect("valid"))
    };
    let here = [10, 0, 0, 1].into();
    assert_eq!(
        named(here, 9),
        ["a", "b", "ill"].map(instance),
        "also one that is not well"
    );
    assert_eq!(named(here, 2).len(), 2);
    assert_eq!(named([10, 0, 0, 2].into(), 9), []);
    drop(state);
}
