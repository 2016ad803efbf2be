//! Thread-per-core: one OS thread each with a current-thread runtime, its connections, pools and counters.
//!
//! Why not one work-stealing runtime: nothing on a request's way then needs `Send`, an atomic reference
//! count or a cross-thread wake-up, and a connection's state stays in one core's cache.

mod drain;
mod listen;
mod load;
mod record;
mod seldom;
mod settlement;
mod start;
mod upkeep;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::Notify;
use tracing::warn;

use crate::{
    accept::Lost,
    callers::{Callers, Lists},
    clock::{self, Tick},
    policy::limits::{InFlight, Peers},
    pool::Pool,
    snapshot::{Snapshot, Store},
    tcp::Scratch,
    telemetry::{
        access_log::{AccessLog, Entry, WorkerLog},
        metrics::{Direction, Gauge, Metrics, Outcomes, Requests, Side},
    },
    tls::{Material, edge::Certificates},
    xds::Discovery,
};

pub use drain::{Drain, DrainTrigger, Phase, drain};
pub use listen::GatewayListeners;
pub use load::{Active, Load, StreamPlace};
pub use record::{Record, grpc_status};
pub use seldom::Seldom;
pub use settlement::{Settlement, announce_breaker, tell_endpoint};
pub use start::{WorkerSettings, Workers, start};

/// What all workers share, and the control thread changes.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The configuration.
    pub store: Arc<Store>,
    /// Our SVID and the roots.
    pub material: Arc<ArcSwap<Material>>,
    /// What a gateway shows to the outside world; empty for sidecars.
    pub certificates: Arc<Certificates>,
    /// How many proxies before a gateway are believed in what they say of their callers; 0: none.
    pub trusted_hops: u8,
    /// For services that the configuration lacks.
    pub discovery: Discovery,
    /// When to leave.
    pub drain: Drain,
    /// Made for at least as many workers as are started.
    pub metrics: Metrics,
    /// Who calls us without the mesh's TLS. Made for at least as many workers as are started.
    pub callers: Lists,
    /// Made once; each worker has its end.
    pub access_log: Arc<AccessLog>,
    /// The ports that this sidecar listens on, if the kernel hands it connections; `None`: explicit calls only.
    pub own_ports: Option<Arc<[u16]>>,
    /// It hands over those from outside too.
    pub intercepts_inbound: bool,
}

/// One thread's world. Lives in an `Rc`; everything in it is reached without a lock.
pub struct Worker {
    /// Counts from 0: shard of metrics, windows and budgets.
    pub index: usize,
    /// See [`Shared`].
    pub shared: Shared,
    /// Connections to endpoints and to our own application.
    pub pool: Pool,
    /// Where our own application listens; `None`: the workload only calls.
    pub application: Option<SocketAddr>,
    /// Handles that belong to no service.
    pub handles: Handles,
    /// What this worker has under way.
    pub load: Arc<Load>,
    /// Inbound TLS handshakes of all workers.
    pub handshakes: Arc<Peers>,
    /// Connections from outside of all workers; `None`: this is no gateway, or proxies are known to be before it.
    pub outsiders: Option<Arc<Peers>>,
    /// Who calls us without the mesh's TLS.
    pub callers: Callers,
    /// Copies of requests under way.
    pub mirrors: Arc<InFlight>,
    /// `namespace/name` of our own service.
    pub own: Arc<str>,
    /// Where its opaque streams read into.
    pub scratch: Scratch,
    /// Warnings about callers, of which a flood is no news.
    pub warnings: Warnings,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    log: RefCell<WorkerLog>,
    logged: Notify,
}

/// Metric handles that belong to no service.
#[derive(Debug)]
pub struct Handles {
    /// What connections turned out to speak.
    pub detected: Outcomes,
    /// From other sidecars.
    pub handshakes_inbound: Outcomes,
    /// Callers' connections that ran into one of our bounds.
    pub ended: Outcomes,
    /// To other sidecars.
    pub handshakes_outbound: Outcomes,
    /// Requests of our application that lead nowhere: no service to count them under.
    pub unrouted: Requests,
    /// Intercepted connections that are passed through to whoever is not of the mesh.
    pub passed_through: Requests,
    /// What they carried.
    pub passed_bytes: Outcomes,
    /// Invariants that did not hold.
    pub internal_errors: Outcomes,
    connections_inbound: Gauge,
    connections_outbound: Gauge,
    connections_application: Gauge,
    connections_endpoints: Gauge,
}

/// In the place of a service's name, which has a slash.
const PASSED_THROUGH: &str = "passthrough";

/// When callers were last warned about, by what they do.
#[derive(Debug, Default)]
pub struct Warnings {
    /// Speaking no HTTP to the outbound listener.
    pub opaque: Seldom,
    /// Asking this instance for another service.
    pub misdirected: Seldom,
    /// More handshakes than we take.
    pub handshakes: Seldom,
    /// More than there are descriptors for.
    pub descriptors: Seldom,
    /// On the way to ourselves.
    pub loops: Seldom,
    /// Asking a gateway for a certificate that it lacks.
    pub certificates: Seldom,
}

/// A connection of ours in the gauge, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping takes it out of the gauge"]
pub struct UpstreamConnection(Gauge);

impl UpstreamConnection {
    fn begin(gauge: &Gauge) -> Self {
        gauge.add(1);
        Self(gauge.clone())
    }
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Worker {
    fn new(
        index: usize,
        shared: Shared,
        application: Option<SocketAddr>,
        load: Arc<Load>,
        (handshakes, outsiders): (Arc<Peers>, Option<Arc<Peers>>),
    ) -> Rc<Self> {
        let metrics = &shared.metrics;
        Rc::new(Self {
            index,
            pool: Pool::default(),
            application,
            handles: Handles {
                detected: metrics.detected(),
                ended: metrics.connections_ended(),
                handshakes_inbound: metrics.tls_handshakes(Direction::Inbound),
                handshakes_outbound: metrics.tls_handshakes(Direction::Outbound),
                unrouted: metrics.requests(Direction::Outbound, "", "", ""),
                passed_through: metrics.requests(Direction::Outbound, PASSED_THROUGH, "", ""),
                passed_bytes: metrics.tcp_bytes(Direction::Outbound, PASSED_THROUGH),
                internal_errors: metrics.internal_errors(),
                connections_inbound: metrics.connections(Direction::Inbound, Side::Downstream),
                connections_outbound: metrics.connections(Direction::Outbound, Side::Downstream),
                connections_application: metrics.connections(Direction::Inbound, Side::Upstream),
                connections_endpoints: metrics.connections(Direction::Outbound, Side::Upstream),
            },
            load,
            handshakes,
            outsiders,
            callers: Callers::new(shared.callers.clone(), index),
            mirrors: Arc::default(),
            own: shared.store.own().to_string().into(),
            scratch: Scratch::default(),
            warnings: Warnings::default(),
            snapshot: RefCell::new(shared.store.reader()),
            log: RefCell::new(shared.access_log.worker(index)),
            logged: Notify::new(),
            shared,
        })
    }

    /// The current snapshot. A request calls this once, and again only after it has waited for discovery.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow_mut().load().clone()
    }

    /// A random number for one decision.
    pub fn random(&self) -> u64 {
        fastrand::u64(..)
    }

    /// Writes an access log line.
    pub fn log(&self, entry: &Entry<'_>, now: Tick) {
        self.log.borrow_mut().log(entry, now);
        self.logged.notify_one();
    }

    /// Callers that could not be served.
    fn lost(&self, lost: &Lost<'_>) {
        match lost {
            Lost::Refused => self.handles.ended.add(self.index, "connections"),
            Lost::Waiting(error) => {
                self.handles.ended.add(self.index, "descriptors");
                if self.warnings.descriptors.is_due(clock::now()) {
                    warn!(%error, "cannot accept connections");
                }
            }
        }
    }

    /// Counts a connection to our application, from its dialling on.
    pub fn application_connection(&self) -> UpstreamConnection {
        UpstreamConnection::begin(&self.handles.connections_application)
    }

    /// Counts a connection to an endpoint, from its dialling on.
    pub fn endpoint_connection(&self) -> UpstreamConnection {
        UpstreamConnection::begin(&self.handles.connections_endpoints)
    }

    /// Counts a handshake with an endpoint.
    pub fn count_handshake(&self, outcome: &'static str) {
        self.handles.handshakes_outbound.add(self.index, outcome);
    }

    fn connections(&self, direction: Direction) -> &Gauge {
        match direction {
            Direction::Inbound => &self.handles.connections_inbound,
            Direction::Outbound => &self.handles.connections_outbound,
        }
    }
}

#[cfg(test)]
mod tests;
