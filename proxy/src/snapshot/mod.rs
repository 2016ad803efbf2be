//! The immutable compiled configuration that requests see: loaded once per request, swapped as a whole.
//!
//! One writer (the control thread) applies a [`Change`]; readers never wait. What outlives a configuration
//! (endpoints' load and ejection, breakers, budgets, counters) is shared between successive snapshots.

mod apply;
mod build;
mod entry;
mod gateway;
mod limits;
mod tokens;
mod treat;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;
use usher_config::{
    model::{Endpoint, Gateway, InboundPolicy, Revision, Service, TrustBundle},
    value::{InstanceName, PathReading, ServiceName},
};

use crate::{
    balance::affinity,
    telemetry::metrics::{Gauge, Metrics},
};

use apply::Fixed;

pub use entry::{
    BreakerEntry, EndpointEntry, InboundEntry, PortEntry, Running, ServiceEntry, ServiceMetrics,
    Treatment,
};
pub use gateway::{GatewayEntry, GatewayPort, ListenerEntry, RouteEntry};
pub use limits::{LimitEntry, LimitsEntry};
pub use tokens::{Guards, TokensEntry};

/// What a batch from the control plane changes; `None` in a pair removes the resource.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Services by name. One that is new brings all of its endpoints along; one that goes takes them with it.
    pub services: Vec<(ServiceName, Option<Service>)>,
    /// Endpoints by name.
    pub endpoints: Vec<(InstanceName, Option<Endpoint>)>,
    /// Our own workload's policy; `None`: unchanged.
    pub inbound: Option<InboundPolicy>,
    /// The gateway that this process is; `None`: unchanged, `Some(None)`: it is none (any more).
    pub gateway: Option<Option<Gateway>>,
    /// The mesh's roots; `None`: unchanged.
    pub trust: Option<TrustBundle>,
    /// `None`: unchanged.
    pub revision: Option<Revision>,
}

/// Everything a request may need to know.
#[derive(Debug, Default)]
pub struct Snapshot {
    services: HashMap<ServiceName, Arc<ServiceEntry>>,
    /// Every spelling of every service's host name, lower case, without a port; and its virtual addresses.
    hosts: HashMap<Box<str>, Arc<ServiceEntry>>,
    /// By virtual address and by the addresses of endpoints, each in the order of the services' names.
    addresses: HashMap<IpAddr, Vec<Arc<ServiceEntry>>>,
    /// Of all endpoints.
    numbers: HashSet<u64>,
    inbound: Option<Arc<InboundEntry>>,
    /// Our own.
    zone: String,
    gateway: Option<Arc<GatewayEntry>>,
    trust: Option<Arc<TrustBundle>>,
    revision: Option<Revision>,
}

impl Snapshot {
    /// The service of this name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<ServiceEntry>> {
        self.services.get(name)
    }

    /// The service that callers mean by this host (lower case, without a port).
    pub fn service_by_host(&self, host: &str) -> Option<&Arc<ServiceEntry>> {
        self.hosts.get(host)
    }

    /// The services that have this address themselves, or an endpoint there.
    pub fn services_at(&self, address: IpAddr) -> &[Arc<ServiceEntry>] {
        self.addresses.get(&address).map_or(&[], Vec::as_slice)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        self.services.values()
    }

    /// What our own workload enforces; `None` until the first revision is in.
    pub fn inbound(&self) -> Option<&Arc<InboundPolicy>> {
        self.inbound.as_ref().map(|workload| &workload.policy)
    }

    /// The same, with metric handles, for the request path.
    pub fn workload(&self) -> Option<&Arc<InboundEntry>> {
        self.inbound.as_ref()
    }

    /// What paths mean: one reading for the whole mesh, which whoever is told of it is told the same.
    pub fn path_reading(&self) -> PathReading {
        let workload = self.inbound.as_ref().map(|entry| entry.policy.path_reading);
        let gateway = || self.gateway.as_ref().map(|entry| entry.model.path_reading);
        workload.or_else(gateway).unwrap_or_default()
    }

    /// The gateway that this process is; `None` until it is known, and for sidecars.
    pub fn gateway(&self) -> Option<&Arc<GatewayEntry>> {
        self.gateway.as_ref()
    }

    /// Whether connections to the endpoint of this number are still of use.
    pub fn has_endpoint(&self, number: u64) -> bool {
        number == APPLICATION || self.numbers.contains(&number)
    }

    /// The mesh's roots; `None` until the first revision is in.
    pub fn trust(&self) -> Option<&Arc<TrustBundle>> {
        self.trust.as_ref()
    }

    /// `None` until the first revision is in.
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }
}

/// The number of our own application, as an endpoint.
pub const APPLICATION: u64 = 0;

/// The cell that holds the current snapshot.
#[derive(Debug)]
pub struct Store {
    fixed: Fixed,
    revision: Gauge,
    current: Arc<ArcSwap<Snapshot>>,
    applied: watch::Sender<()>,
}

impl Store {
    /// An empty one. `own` is our own service: its namespace completes callers' short names. `workers` is how
    /// many will count into budgets and breakers.
    pub fn new(own: ServiceName, workers: usize, metrics: Metrics) -> Self {
        let revision = metrics.config_revision();
        Self {
            fixed: Fixed {
                source: affinity::hash(own.to_string().as_bytes()),
                zone: String::new(),
                own,
                workers,
                metrics,
            },
            revision,
            current: Arc::default(),
            applied: watch::Sender::new(()),
        }
    }

    /// Says which instance of our service we are, and where; `zone` may be empty.
    #[must_use]
    pub fn of_instance(mut self, instance: &InstanceName, zone: &str) -> Self {
        self.fixed.source = affinity::hash(instance.to_string().as_bytes());
        zone.clone_into(&mut self.fixed.zone);
        self
    }

    /// The hash of who we are.
    pub fn source(&self) -> u64 {
        self.fixed.source
    }

    /// Our own service.
    pub fn own(&self) -> &ServiceName {
        &self.fixed.own
    }

    /// The current snapshot, for everybody but workers.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Hears of every change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.applied.subscribe()
    }

    /// A worker's view: one atomic load per request as long as nothing changes.
    pub fn reader(&self) -> Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>> {
        Cache::new(self.current.clone())
    }

    /// Swaps in the configuration that results from `change`. To be called by one thread only (the
    /// control thread): of two concurrent changes one would be lost.
    pub fn apply(&self, change: Change) {
        let next = apply::apply(&self.current.load(), &self.fixed, change);
        if let Some(revision) = &next.revision {
            self.revision
                .set(i64::try_from(revision.number).unwrap_or(i64::MAX));
        }
        self.current.store(Arc::new(next));
        self.applied.send_replace(());
    }
}

#[cfg(test)]
mod tests;
