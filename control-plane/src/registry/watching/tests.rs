//! Over gRPC a watcher hears what there is, and then what comes.

use std::path::Path;

use futures_util::StreamExt as _;
use tonic::{Code, Request};
use usher_config::{
    parse::parse_files,
    wire::v1::{WatchRequest, registry_server::Registry as _},
};

use super::*;
use crate::{
    ca::Peer,
    registry::{MemoryStore, RegistryService, instances::Instance},
    state::State,
    telemetry::metrics::Metrics,
    watch::Watchers,
};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: { name: account, namespace: bank }
spec: { selector: { app: account }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: fraud, namespace: bank }
spec: { selector: { app: fraud }, ports: [{ port: 80 }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: account, namespace: bank, labels: { app: account } }
spec: { serviceAccount: account }
";

#[tokio::test]
async fn an_identity_is_refused_what_another_still_gets() {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let metrics = Metrics::new().expect("unique names");
    let watchers = Watchers::new(state.clone(), stopping);
    let service = RegistryService::new(state, watchers, metrics.registry_impostors);
    let watch = async |account: &str| {
        let identity = format!("spiffe://usher.local/ns/bank/sa/{account}");
        let identity: usher_config::value::SpiffeId = identity.parse().expect("valid");
        let mut request = Request::new(WatchRequest::default());
        request.extensions_mut().insert(Peer::from(identity));
        service.watch(request).await.map_err(|status| status.code())
    };
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(watch("fraud").await.expect("its share"));
    }
    assert_eq!(watch("fraud").await.err(), Some(Code::ResourceExhausted));
    assert!(watch("teller").await.is_ok());
}

#[tokio::test]
async fn what_there_is_comes_first_and_then_what_changes() {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    state.apply(parsed, Path::new("")).await.expect("good");
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let metrics = Metrics::new().expect("unique names");
    let watchers = Watchers::new(state.clone(), stopping);
    let service = RegistryService::new(state.clone(), watchers, metrics.registry_impostors);
    let request = || {
        Request::new(WatchRequest {
            namespace: String::new(),
            service: "account".to_owned(),
        })
    };
    let refused = service
        .watch(request())
        .await
        .map(|_| ())
        .expect_err("nobody");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let identity: usher_config::value::SpiffeId = "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid");
    let mut request = request();
    request
        .extensions_mut()
        .insert(Peer::from(identity.clone()));
    let mut told = service.watch(request).await.expect("somebody").into_inner();
    let mut next = async || {
        told.next()
            .await
            .expect("more")
            .map_err(|status| status.code())
    };

    let first = next().await.expect("changes");
    let [change] = first.changes.as_slice() else {
        panic!("{first:?}");
    };
    assert_eq!(
        (change.service.as_str(), change.ports.as_slice()),
        ("account", &[80][..])
    );
    assert!(change.instance.is_none() && change.kind() == Kind::Added);
    assert!(next().await.expect("synced").synced);
    let instance = Instance {
        address: ([10, 0, 0, 1], 15_006).into(),
        address_is_own: true,
        healthy: true,
        health_reason: String::new(),
        zone: "west".to_owned(),
        identity,
        revision: 0,
        callers: Default::default(),
    };
    let name = "bank/account/a".parse().expect("valid");
    state.register(&name, instance).expect("room");
    let added = next().await.expect("changes");
    let instance = added.changes[0].instance.clone().expect("one");
    assert_eq!(
        (instance.instance.as_str(), instance.zone.as_str()),
        ("a", "west")
    );
    stop.send_replace(true);
    assert_eq!(next().await, Err(Code::Unavailable));
}
