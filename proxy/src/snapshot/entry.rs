//! A service and its endpoints as the request path sees them: model, compiled routes, and state that outlives
//! a snapshot (load, speed, ejection, breakers, budgets), with metric handles already resolved.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::HeaderName;
use usher_config::{
    model::{Endpoint, InboundPolicy, Service, TrafficPolicy},
    value::{Port, ServiceName, SpiffeId},
};

use crate::{
    balance::{EndpointState, Group, Roster},
    policy::{
        breaker::Breaker,
        limits::{EndpointLoad, ServiceLoad},
        retry_budget::RetryBudget,
    },
    route::{Streams, Table},
    telemetry::metrics::{Counter, Gauge, Histogram, Outcomes, Requests},
    tls::origin::Origin,
};

use super::{
    limits::{Kept, LimitsEntry},
    tokens::TokensEntry,
};

/// A service, ready to be called.
#[derive(Debug)]
pub struct ServiceEntry {
    /// What the control plane said.
    pub model: Arc<Service>,
    /// `namespace/name`.
    pub label: Arc<str>,
    /// Which route takes a request.
    pub table: Table,
    /// Which route takes a connection.
    pub streams: Streams,
    /// For requests that no route takes, and for TCP.
    pub treatment: Arc<Treatment>,
    /// In the order of the table's routes.
    pub route_treatments: Vec<Arc<Treatment>>,
    /// In the order of their names; positions are those of the groups' members.
    pub endpoints: Vec<EndpointEntry>,
    /// Who may answer.
    pub identities: Arc<[SpiffeId]>,
    /// For each of the service's ports, in their order: what to choose from, and its name in TLS.
    pub ports: Vec<PortEntry>,
    /// Shared with earlier and later snapshots.
    pub running: Arc<Running>,
    /// Metric handles.
    pub metrics: ServiceMetrics,
}

/// Whether requests have come since somebody last asked. Written only when it changes, so that workers do not
/// fight over its cache line.
#[derive(Debug, Default)]
pub struct Used(AtomicBool);

/// One port of a service.
#[derive(Debug)]
pub struct PortEntry {
    /// The number callers use.
    pub port: Port,
    /// The endpoints that serve it.
    pub group: Group,
    /// `<port>.<service>.<namespace>`.
    pub sni: Arc<str>,
    /// Inside which TLS its endpoints are spoken to, or why they are not. `None`: the mesh's where they are meshed, else none.
    pub tls: Option<Arc<Result<Origin, Box<str>>>>,
}

/// A service's state that outlives snapshots.
#[derive(Debug, Default)]
pub struct Running {
    /// What is in flight, against the limits.
    pub load: ServiceLoad,
    /// How many endpoints are ejected.
    pub roster: Arc<Roster>,
    /// Keeps the service from being forgotten.
    pub used: Used,
}

/// Metric handles of a service.
#[derive(Debug)]
pub struct ServiceMetrics {
    /// From the caller's side.
    pub duration: Histogram,
    /// By outcome.
    pub attempts: Outcomes,
    /// By what became of failed attempts.
    pub retries: Outcomes,
    /// By cause.
    pub fallbacks: Outcomes,
    /// Endpoints that went out or came back.
    pub ejections: Outcomes,
    /// Endpoints that are out.
    pub ejected: Gauge,
    /// Opaque streams, by way.
    pub tcp_bytes: Outcomes,
}

/// How requests of one kind (a route's, or those without) are treated.
#[derive(Debug)]
pub struct Treatment {
    /// Route name; empty for requests that no route takes.
    pub route: Arc<str>,
    /// The rules.
    pub policy: Arc<TrafficPolicy>,
    /// `None`: there is none.
    pub breaker: Option<BreakerEntry>,
    /// For retries.
    pub budget: Arc<RetryBudget>,
    /// Requests that take it.
    pub requests: Requests,
    /// By mirror: what becomes of copies.
    pub mirrors: Vec<(ServiceName, Outcomes)>,
    /// Faults injected, by kind.
    pub faults: Outcomes,
}

/// A breaker and how it is shown.
#[derive(Debug, Clone)]
pub struct BreakerEntry {
    /// Shared by all whom its scope covers.
    pub breaker: Arc<Breaker>,
    /// 0 closed, 1 half-open, 2 open.
    pub state: Gauge,
    /// By the phase that began.
    pub transitions: Outcomes,
    /// What it would have done if it did more than observe.
    pub observed: Outcomes,
    /// Empty where the scope is the service.
    pub route: Arc<str>,
}

/// One endpoint, ready to be chosen.
#[derive(Debug, Clone)]
pub struct EndpointEntry {
    /// What the control plane said.
    pub model: Arc<Endpoint>,
    /// Requests, speed, ejection.
    pub state: Arc<EndpointState>,
    /// Connections, and who waits for one.
    pub load: Arc<EndpointLoad>,
    /// Unique in this process; connections belong to it. Changes with address, expected identity or TLS.
    pub number: u64,
}

/// What our own workload enforces, ready for use.
#[derive(Debug)]
pub struct InboundEntry {
    /// What the control plane said.
    pub policy: Arc<InboundPolicy>,
    /// `namespace/name`.
    pub label: Arc<str>,
    /// Of requests from the mesh.
    pub duration: Histogram,
    /// Opaque streams, by way.
    pub tcp_bytes: Outcomes,
    /// For each access policy, in order: requests that it would have refused if it were not a dry run.
    pub dry_run: Vec<Counter>,
    /// The policy's.
    pub claim_headers: Arc<[HeaderName]>,
    /// `None`: nobody looks at tokens.
    pub tokens: Option<Arc<TokensEntry>>,
    /// Those enforced, and those on trial.
    pub limits: Vec<Arc<LimitsEntry>>,
    pub(super) kept: Kept,
}

impl Treatment {
    /// Counts copies to this mirror.
    pub fn mirrored(&self, mirror: &ServiceName) -> Option<&Outcomes> {
        let mut all = self.mirrors.iter();
        all.find(|(name, _)| name == mirror)
            .map(|(_, outcomes)| outcomes)
    }
}

impl ServiceEntry {
    /// A request is about to call this service.
    pub fn mark_used(&self) {
        let used = &self.running.used.0;
        if !used.load(Ordering::Relaxed) {
            used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used since the last time this was asked.
    pub fn take_used(&self) -> bool {
        self.running.used.0.swap(false, Ordering::Relaxed)
    }

    /// The numbers of its ports, for whoever asked for another.
    pub fn port_numbers(&self) -> Box<[Port]> {
        self.ports.iter().map(|entry| entry.port).collect()
    }

    /// The service's port with this number.
    pub fn port(&self, port: Port) -> Option<&PortEntry> {
        self.ports.iter().find(|entry| entry.port == port)
    }
}
