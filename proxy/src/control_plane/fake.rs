//! A control plane in this process, for tests: real TLS, real gRPC, one service `bank/account` with one endpoint.

#![allow(
    clippy::disallowed_types,
    reason = "a test's record of calls; no request waits for it"
)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, service::Routes};
use usher_config::wire::{
    discovery::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
    v1::{
        AdmitRequest, AdmitResponse, AttestRequest, DeregisterRequest, DeregisterResponse, Lease,
        ListServicesRequest, ListServicesResponse, PlaintextCallers, RegisterRequest,
        RenewLeaseRequest, RenewRequest, SvidResponse, WatchRequest, WatchResponse,
        authority_server::{Authority, AuthorityServer},
        registry_server::{Registry, RegistryServer},
    },
};

use super::ControlPlane;
use crate::tls::{
    spki_sha256,
    tests::{Signed, TestAuthority, today},
};

mod resources;

pub(crate) const CONTROL_PLANE: &str = "spiffe://usher.local/ns/usher-system/sa/usher";
pub(crate) const WORKLOAD: &str = "spiffe://usher.local/ns/bank/sa/transaction";

/// Cheap to clone; all clones are one control plane.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) authority: Arc<TestAuthority>,
    /// What was asked of it, in order.
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    /// Leases that are still known.
    pub(crate) leases: Arc<Mutex<Vec<String>>>,
    /// It says with each lease that the instance should leave.
    pub(crate) leave: Arc<AtomicBool>,
    /// What it answers to whoever asks for admission, if not by the service.
    pub(crate) admission: Arc<Mutex<Option<Status>>>,
    /// What it answers to whoever registers, if not with a lease.
    pub(crate) registration: Arc<Mutex<Option<Status>>>,
    /// What it answers to those who open a stream, one after the other.
    pub(crate) refuses_streams: Arc<Mutex<Vec<Status>>>,
    /// How many came.
    connections: Arc<AtomicUsize>,
    pub(crate) control_plane: ControlPlane,
}

impl Fake {
    /// Listens as the control plane of its own root.
    pub(crate) async fn start() -> Self {
        Self::start_as(CONTROL_PLANE).await
    }

    /// Listens under another name, certified all the same.
    pub(crate) async fn start_as(spiffe_id: &str) -> Self {
        let authority = Arc::new(TestAuthority::new());
        let acceptor = acceptor(&authority, authority.sign(&[spiffe_id], today()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control_plane = ControlPlane::new(&listener.local_addr().unwrap().to_string());
        let fake = Self {
            authority,
            calls: Arc::default(),
            leases: Arc::default(),
            leave: Arc::default(),
            admission: Arc::default(),
            registration: Arc::default(),
            refuses_streams: Arc::default(),
            connections: Arc::default(),
            control_plane,
        };
        let connections = fake.connections.clone();
        let routes = Routes::new(AuthorityServer::new(fake.clone()))
            .add_service(RegistryServer::new(fake.clone()))
            .add_service(AggregatedDiscoveryServiceServer::new(fake.clone()))
            .prepare();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = TowerToHyperService::new(routes);
                    let server = http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        fake
    }

    pub(crate) fn token(&self) -> String {
        token(&self.authority.root)
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn called(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    fn svid(&self, csr: &[u8]) -> SvidResponse {
        SvidResponse {
            chain_der: vec![self.authority.sign_request(csr, WORKLOAD)],
            spiffe_id: WORKLOAD.into(),
            trust_domain: "usher.local".into(),
            roots_der: vec![self.authority.root.clone()],
            bundle_version: 1,
        }
    }
}

/// What a service account shows; to whom it is issued, only Kubernetes could tell.
pub(crate) const SERVICE_ACCOUNT_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmVk";

pub(crate) fn token(root: &[u8]) -> String {
    let pin: String = spki_sha256(root)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("usher1.id.secret.{pin}")
}

fn acceptor(authority: &TestAuthority, signed: Signed) -> TlsAcceptor {
    let mut chain: Vec<CertificateDer<'static>> =
        signed.chain.into_iter().map(Into::into).collect();
    chain.push(authority.root.clone().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(signed.key).into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tonic::async_trait]
impl Authority for Fake {
    async fn attest(
        &self,
        request: Request<AttestRequest>,
    ) -> Result<Response<SvidResponse>, Status> {
        self.called("attest");
        let request = request.into_inner();
        let is_account = request.service_account_token == SERVICE_ACCOUNT_TOKEN;
        if !is_account && request.join_token != self.token() {
            return Err(Status::permission_denied("no such token"));
        }
        Ok(Response::new(self.svid(&request.csr_der)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<SvidResponse>, Status> {
        self.called("renew svid");
        Ok(Response::new(self.svid(&request.into_inner().csr_der)))
    }
}

#[tonic::async_trait]
impl Registry for Fake {
    async fn admit(
        &self,
        request: Request<AdmitRequest>,
    ) -> Result<Response<AdmitResponse>, Status> {
        let AdmitRequest {
            namespace,
            service,
            serves,
            remarks,
            ..
        } = request.into_inner();
        if !remarks.is_empty() {
            self.called(format!("remarks {remarks:?}"));
        }
        if let Some(status) = self.admission.lock().unwrap().clone() {
            return Err(status);
        }
        if format!("{namespace}/{service}") == "bank/transaction" {
            // As of a mesh without Services.
            let warning = if serves { "nobody can call it" } else { "" };
            return Ok(Response::new(AdmitResponse {
                warning: warning.to_owned(),
            }));
        }
        let message = format!("{WORKLOAD} may not be service {namespace}/{service}");
        Err(Status::permission_denied(message))
    }

    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Lease>, Status> {
        if let Some(status) = self.registration.lock().unwrap().clone() {
            self.called("register refused");
            return Err(status);
        }
        let request = request.into_inner();
        let mut leases = self.leases.lock().unwrap();
        let lease_id = format!("lease{}", self.calls().len());
        leases.push(lease_id.clone());
        self.called(format!(
            "register {} healthy={}{}{}",
            request.address,
            request.healthy,
            because(&request.health_reason),
            called_by(request.plaintext_callers)
        ));
        Ok(Response::new(Lease {
            lease_id,
            ttl_ms: 60,
            leave: self.leave.load(Ordering::Relaxed),
        }))
    }

    async fn renew(&self, request: Request<RenewLeaseRequest>) -> Result<Response<Lease>, Status> {
        let RenewLeaseRequest {
            lease_id,
            healthy,
            health_reason,
            plaintext_callers,
            ..
        } = request.into_inner();
        if !self.leases.lock().unwrap().contains(&lease_id) {
            return Err(Status::not_found("no such lease"));
        }
        self.called(format!(
            "renew healthy={healthy}{}{}",
            because(&health_reason),
            called_by(plaintext_callers)
        ));
        Ok(Response::new(Lease {
            lease_id,
            ttl_ms: 60,
            leave: self.leave.load(Ordering::Relaxed),
        }))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        self.called(format!("deregister wait={}", request.into_inner().wait_ms));
        Ok(Response::new(DeregisterResponse { confirmed: true }))
    }

    async fn list_services(
        &self,
        _: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        Err(Status::unimplemented("not for sidecars"))
    }

    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not for sidecars"))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Fake {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if let Some(status) = self.refuses_streams.lock().unwrap().pop() {
            self.called("stream refused");
            return Err(status);
        }
        self.called("stream");
        let (sender, receiver) = mpsc::channel(64);
        let mut requests = request.into_inner();
        let root = self.authority.root.clone();
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                for response in resources::responses(&request, &root) {
                    if sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn called_by(callers: Option<PlaintextCallers>) -> String {
    let callers = callers.unwrap_or_default().callers;
    let addresses: Vec<String> = callers.into_iter().map(|one| one.address).collect();
    match addresses.is_empty() {
        true => String::new(),
        false => format!(" called by {}", addresses.join(" ")),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" because {reason}")
    }
}
