//! A real stream over a real socket: batches, refusals, and an instance that waits until nobody calls it.

use std::{path::Path, time::Duration};

use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use usher_config::{
    parse::parse_files,
    wire::{
        discovery::{
            Node, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
        },
        rpc,
        v1::{
            AdmitRequest, DeregisterRequest, RegisterRequest, registry_client::RegistryClient,
            registry_server::RegistryServer,
        },
    },
};

use crate::{
    ca::Peer,
    registry::{MemoryStore, RegistryService},
};

use super::*;

mod slow;
mod storm;

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: account, namespace: bank}
spec: {selector: {app: account}, ports: [{port: 8080}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: account, namespace: bank, labels: {app: account}}
spec: {serviceAccount: account}
";

async fn apply(state: &State, text: &str) {
    let parsed = parse_files(&[("a.yaml".into(), text.to_owned())]);
    let revision = state
        .apply(parsed, Path::new(""))
        .await
        .expect("accepted")
        .expect("new");
    let published = |snapshot: &Arc<Snapshot>| snapshot.revision().number == revision.number;
    state.snapshots().wait_for(published).await.expect("alive");
}

/// A control plane whose callers are all `account`, and a connection to it.
async fn serve() -> (State, Channel) {
    let metrics = crate::telemetry::metrics::Metrics::new().expect("unique names");
    serve_behind(Door::new(metrics.streams)).await
}

/// The same, behind this door.
async fn serve_behind(door: Door) -> (State, Channel) {
    let (state, endpoint) = serve_at(door).await;
    (state, endpoint.connect().await.expect("connected"))
}

/// The same, and how it is reached.
async fn serve_at(door: Door) -> (State, Endpoint) {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    apply(&state, OBJECTS).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = listener.local_addr().expect("bound");
    let identify = |mut request: Request<()>| {
        let identity: SpiffeId = "spiffe://usher.local/ns/bank/sa/account"
            .parse()
            .expect("valid");
        request.extensions_mut().insert(Peer::from(identity));
        Ok(request)
    };
    let metrics = crate::telemetry::metrics::Metrics::new().expect("unique names");
    let ads = AdsService {
        state: state.clone(),
        door,
    };
    let registry = {
        let watchers = crate::watch::Watchers::new(state.clone(), watch::channel(false).1);
        RegistryService::new(state.clone(), watchers, metrics.registry_impostors)
    };
    let server = Server::builder()
        .add_service(AggregatedDiscoveryServiceServer::with_interceptor(
            ads, identify,
        ))
        .add_service(RegistryServer::with_interceptor(registry, identify))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let endpoint = Channel::from_shared(format!("http://{address}"));
    (state, endpoint.expect("valid"))
}

struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    async fn connect(channel: Channel) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let first = DeltaDiscoveryRequest {
            node: Some(Node {
                id: "bank/account/a".into(),
                ..Node::default()
            }),
            type_url: type_url::REVISION.into(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.expect("open");
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(receiver))
            .await
            .expect("accepted");
        Self {
            requests,
            responses: responses.into_inner(),
        }
    }

    async fn subscribe(&self, topic: Topic, name: &str) {
        let request = DeltaDiscoveryRequest {
            type_url: topic.type_url().into(),
            resource_names_subscribe: vec![name.into()],
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.expect("open");
    }

    /// Everything up to and including the closing `Revision`.
    async fn batch(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let mut batch = Vec::new();
        loop {
            let response = timeout(Duration::from_secs(10), self.responses.next());
            let response = response
                .await
                .expect("in time")
                .expect("open")
                .expect("no error");
            let is_last = response.type_url == type_url::REVISION;
            batch.push(response);
            if is_last {
                return batch;
            }
        }
    }

    async fn answer(&self, batch: &[DeltaDiscoveryResponse], error: Option<&str>) {
        for response in batch {
            let error_detail = error.map(|message| rpc::Status {
                message: message.into(),
                ..Default::default()
            });
            let request = DeltaDiscoveryRequest {
                type_url: response.type_url.clone(),
                response_nonce: response.nonce.clone(),
                error_detail,
                ..DeltaDiscoveryRequest::default()
            };
            self.requests.send(request).await.expect("open");
        }
    }
}

fn summary(batch: &[DeltaDiscoveryResponse]) -> Vec<(String, Vec<String>, Vec<String>)> {
    batch
        .iter()
        .map(|response| {
            let kind = response
                .type_url
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_owned();
            let names = response
                .resources
                .iter()
                .map(|resource| resource.name.clone())
                .collect();
            (kind, names, response.removed_resources.clone())
        })
        .collect()
}

async fn eventually(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), reached)
        .await
        .expect("in time");
}

#[tokio::test]
async fn a_batch_is_closed_by_its_revision_and_acknowledged_into_the_status() {
    let (state, channel) = serve().await;
    let mut proxy = Proxy::connect(channel).await;
    proxy.subscribe(Topic::Service, "bank/account").await;
    let batch = proxy.batch().await;
    let service = (
        "Service".to_owned(),
        vec!["bank/account".to_owned()],
        vec![],
    );
    assert_eq!(summary(&batch)[0], service);
    assert!(
        !state.status().proxies[0].up_to_date,
        "nothing is acknowledged yet"
    );
    proxy.answer(&batch, None).await;
    eventually(|| state.status().proxies[0].up_to_date).await;
    let report = state.status().proxies[0].clone();
    assert_eq!(
        (report.node.as_str(), report.revision),
        ("bank/account/a", 1)
    );

    apply(&state, &OBJECTS.replace("8080", "9090")).await;
    let batch = proxy.batch().await;
    assert_eq!(summary(&batch)[0], service);
    proxy.answer(&batch, Some("cannot do that")).await;
    eventually(|| state.status().proxies[0].last_nack.is_some()).await;
    let report = state.status().proxies[0].clone();
    let nack = report.last_nack.expect("refused");
    assert_eq!(
        (nack.revision, nack.message.as_str(), report.revision),
        (2, "cannot do that", 1)
    );
    drop(proxy);
    eventually(|| state.status().proxies.is_empty()).await;
}

#[tokio::test]
async fn a_proxy_that_asks_bit_by_bit_gets_its_first_batch_whole() {
    let (state, channel) = serve().await;
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let (requests, receiver) = mpsc::channel(16);
    let ask = async |type_url: &str, name: &str| {
        let request = DeltaDiscoveryRequest {
            node: Some(Node {
                id: "bank/account/a".into(),
                ..Node::default()
            }),
            type_url: type_url.into(),
            resource_names_subscribe: vec![name.into()],
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(request).await.expect("open");
    };
    ask(type_url::TRUST_BUNDLE, "*").await;
    let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver));
    let responses = responses.await.expect("accepted").into_inner();
    // It has been read, and would have been answered by now.
    eventually(|| !state.status().proxies.is_empty()).await;
    ask(type_url::INBOUND_POLICY, "bank/account").await;
    ask(type_url::REVISION, "*").await;
    let mut proxy = Proxy {
        requests,
        responses,
    };
    let batch = summary(&proxy.batch().await);
    let names: Vec<_> = batch.iter().flat_map(|(_, names, _)| names).collect();
    assert!(names.contains(&&"bank/account".to_owned()), "{batch:?}");
}

#[tokio::test]
async fn an_unknown_service_is_answered_at_once() {
    let (_state, channel) = serve().await;
    let mut proxy = Proxy::connect(channel).await;
    proxy.subscribe(Topic::Service, "bank/nobody").await;
    let removed = ("Service".to_owned(), vec![], vec!["bank/nobody".to_owned()]);
    assert_eq!(summary(&proxy.batch().await)[0], removed);
}

#[tokio::test]
async fn an_address_is_answered_with_the_service_behind_it_or_at_once_with_nothing() {
    let (state, channel) = serve().await;
    let mut proxy = Proxy::connect(channel).await;
    let address = format!("addr/{}", state.status().services[0].virtual_addresses[0]);
    proxy.subscribe(Topic::Service, &address).await;
    let batch = proxy.batch().await;
    let [account] = &batch[0].resources[..] else {
        panic!("{batch:?}")
    };
    assert_eq!(account.name, "bank/account");
    assert_eq!(account.aliases, [address]);
    proxy.answer(&batch, None).await;
    proxy
        .subscribe(Topic::Service, "addr/240.240.255.250")
        .await;
    let batch = proxy.batch().await;
    assert_eq!(batch[0].removed_resources, ["addr/240.240.255.250"]);
}

#[tokio::test]
async fn an_instance_leaves_when_every_caller_has_dropped_it() {
    let (state, channel) = serve().await;
    let mut registry = RegistryClient::new(channel.clone());
    let mut proxy = Proxy::connect(channel).await;
    proxy.subscribe(Topic::Endpoint, "bank/account/*").await;
    let batch = proxy.batch().await;
    proxy.answer(&batch, None).await;

    let part = |text: &str| text.to_owned();
    let register = RegisterRequest {
        namespace: part("bank"),
        service: part("account"),
        instance: part("a"),
        address: part("127.0.0.1:15006"),
        healthy: true,
        zone: String::new(),
        health_reason: String::new(),
        plaintext_callers: None,
    };
    let ask = |service: &str| AdmitRequest {
        namespace: part("bank"),
        service: part(service),
        instance: part("a"),
        ..AdmitRequest::default()
    };
    assert!(registry.admit(ask("account")).await.is_ok());
    let refused = registry.admit(ask("reporting")).await.expect_err("not it");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    for name in ["sa/account", "bank/reporting"] {
        assert!(refused.message().contains(name), "{}", refused.message());
    }
    let lease = registry
        .register(register.clone())
        .await
        .expect("permitted")
        .into_inner();
    let batch = proxy.batch().await;
    assert_eq!(summary(&batch)[0].1, ["bank/account/a"]);
    proxy.answer(&batch, None).await;

    let request = DeregisterRequest {
        namespace: part("bank"),
        service: part("account"),
        instance: part("a"),
        lease_id: lease.lease_id,
        wait_ms: 10_000,
    };
    let leaving = tokio::spawn({
        let mut registry = registry.clone();
        async move { registry.deregister(request).await }
    });
    let batch = proxy.batch().await;
    assert_eq!(summary(&batch)[0].2, ["bank/account/a"]);
    assert!(!leaving.is_finished(), "the caller has not acknowledged");
    proxy.answer(&batch, None).await;
    let answer = leaving
        .await
        .expect("no panic")
        .expect("permitted")
        .into_inner();
    assert!(answer.confirmed);
    assert_eq!(
        state.status().revision.number,
        1,
        "endpoints are in no revision"
    );

    let stranger = RegisterRequest {
        service: part("reporting"),
        ..register.clone()
    };
    let refused = registry
        .register(stranger)
        .await
        .expect_err("not its service");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let nowhere = RegisterRequest {
        address: part("0.0.0.0:1"),
        ..register
    };
    let refused = registry
        .register(nowhere)
        .await
        .expect_err("nobody can call that");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}
