//! What the control thread hands to the workers at start.

use std::{net::TcpListener, num::NonZeroUsize, sync::Arc};

use arc_swap::ArcSwap;

use usher_config::{
    model::ServiceTarget,
    value::{Port, ServiceName},
};

use super::{Activity, Drain};
use crate::{
    bootstrap::AccessLogTarget, snapshot::Store, telemetry::metrics::Metrics, tls::Material,
    xds::Discovery,
};

/// Listeners are bound, listening and non-blocking.
#[derive(Debug)]
pub struct Setup {
    /// Whose traffic this is.
    pub service: ServiceName,
    /// How many threads.
    pub workers: NonZeroUsize,
    /// From other sidecars; `None`: the workload only calls.
    pub inbound: Option<Inbound>,
    /// From the application.
    pub outbound: TcpListener,
    /// From the application, opaque bytes, each for one port of one service.
    pub tcp: Vec<(TcpListener, ServiceTarget)>,
    /// Loaded once per request.
    pub store: Arc<Store>,
    /// Loaded once per handshake.
    pub material: Arc<ArcSwap<Material>>,
    /// For services that the snapshot lacks.
    pub discovery: Discovery,
    /// Says when to leave.
    pub drain: Drain,
    /// Told of every downstream connection.
    pub activity: Activity,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// Where access log lines go.
    pub access_log: AccessLogTarget,
}

/// Mesh → application.
#[derive(Debug)]
pub struct Inbound {
    /// From other sidecars.
    pub listener: TcpListener,
    /// On 127.0.0.1.
    pub application: Port,
}
