//! One sidecar of a test, on threads of its own, and what it is told.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread,
};

use arc_swap::ArcSwap;
use usher_config::{
    model::{
        Endpoint, InboundPolicy, MtlsMode, Protocol, Service, ServicePort, ServiceTarget,
        Telemetry, Timeouts, TrafficPolicy,
    },
    value::Weight,
};

use crate::{
    callers::Lists,
    snapshot::{Change, Store},
    telemetry::{
        access_log::{AccessLog, Target},
        metrics::Metrics,
    },
    tls::tests::TestAuthority,
    worker::{DrainTrigger, Shared, WorkerSettings, Workers, drain, start},
    xds::{self, Resolution},
};

use super::harness::eventually;

/// A sidecar with its workers and its own view of the configuration.
pub(super) struct Sidecar {
    pub(super) store: Arc<Store>,
    pub(super) workers: Option<Workers>,
    pub(super) drain: DrainTrigger,
    pub(super) outbound: SocketAddr,
    pub(super) inbound: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) callers: Lists,
    pub(super) log: tempfile::NamedTempFile,
    metrics: Metrics,
}

pub(super) const ENDPOINT: &str = "bank/account/a";

pub(super) fn service(policy: TrafficPolicy) -> Service {
    Service {
        name: "bank/account".parse().unwrap(),
        virtual_addresses: Vec::new(),
        ports: vec![port()],
        identities: vec!["spiffe://usher.local/ns/bank/sa/account".parse().unwrap()],
        policy: Arc::new(policy),
        routes: Vec::new(),
        streams: Vec::new(),
    }
}

pub(super) fn port() -> ServicePort {
    ServicePort {
        name: "http".parse().unwrap(),
        port: "80".parse().unwrap(),
        protocol: Protocol::Detect,
        tls: None,
    }
}

pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        name: ENDPOINT.parse().unwrap(),
        address,
        address_is_own: true,
        meshed: true,
        weight: Weight::ONE,
        zone: String::new(),
        healthy: true,
        ports: Vec::new(),
    }
}

pub(super) fn inbound_policy(name: &str) -> InboundPolicy {
    InboundPolicy {
        service: format!("bank/{name}").parse().unwrap(),
        mtls: MtlsMode::Strict,
        ports: vec![(port().port, port().protocol)],
        access: Vec::new(),
        rate_limits: Vec::new(),
        authentication: None,
        claim_headers: Vec::new(),
        gateways: Vec::new(),
        health_check: None,
        telemetry: Telemetry::default(),
        idle: Timeouts::default().idle,
        outbound: Default::default(),
        path_reading: Default::default(),
        zone: String::new(),
    }
}

impl Sidecar {
    pub(super) fn start(
        authority: &TestAuthority,
        workers: usize,
        name: &str,
        application: Option<SocketAddr>,
    ) -> Self {
        let metrics = Metrics::new(workers);
        let own = format!("bank/{name}").parse().unwrap();
        let store = Arc::new(Store::new(own, workers, metrics.clone()));
        store.apply(Change {
            inbound: Some(inbound_policy(name)),
            ..Change::default()
        });
        let material = authority.material(&format!("spiffe://usher.local/ns/bank/sa/{name}"));
        let (discovery, mut questions) = xds::discovery();
        thread::spawn(move || {
            while let Some(question) = questions.blocking_recv() {
                let _ = question.answer.send(Resolution::Unknown);
            }
        });
        let (trigger, drain) = drain();
        let log = tempfile::NamedTempFile::new().unwrap();
        let target = Target::File(log.path().to_owned());
        let access_log = AccessLog::open(target, metrics.access_log_dropped()).unwrap();
        let callers = Lists::new(workers);
        let shared = Shared {
            store: store.clone(),
            material: Arc::new(ArcSwap::from_pointee(material)),
            certificates: Arc::default(),
            trusted_hops: 0,
            discovery,
            drain,
            metrics: metrics.clone(),
            callers: callers.clone(),
            access_log: Arc::new(access_log),
            own_ports: None,
            intercepts_inbound: false,
        };
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (outbound, inbound, tcp) = (listen(), listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let addresses = (address(&outbound), address(&inbound), address(&tcp));
        let target = ServiceTarget {
            service: "bank/account".parse().unwrap(),
            port: port().port,
        };
        let settings = WorkerSettings {
            workers: NonZeroUsize::new(workers).unwrap(),
            outbound: Some(outbound),
            gateway: None,
            inbound: Some(inbound),
            tcp: vec![(tcp, target)],
            ipv6: Vec::new(),
            application,
        };
        let workers = start(settings, &shared).unwrap();
        let (outbound, inbound, tcp) = addresses;
        Self {
            store,
            workers: Some(workers),
            drain: trigger,
            outbound,
            inbound,
            tcp,
            callers,
            log,
            metrics,
        }
    }

    /// Whether such a line is among its metrics.
    pub(super) fn counts(&self, line: &str) -> bool {
        let exposition = prometheus::Registry::new();
        self.metrics.register(&exposition).unwrap();
        let text = prometheus::TextEncoder::new();
        let text = text.encode_to_string(&exposition.gather()).unwrap();
        text.lines().any(|found| found == line)
    }

    /// The first line of its access log that has `word` in it.
    pub(super) fn logged(&self, word: &str) -> String {
        let mut found = None;
        eventually(|| {
            let text = std::fs::read_to_string(self.log.path()).unwrap();
            let line = text.lines().find(|line| line.contains(word));
            found = line.map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
    }
}
