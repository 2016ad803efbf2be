//! A service as its callers see it.

use std::{net::IpAddr, sync::Arc};

use crate::value::{Name, Port, ServiceName, SpiffeId};

use super::{BackendTls, Route, StreamRoute, TrafficPolicy};

/// A named set of endpoints, and everything needed to call it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// `namespace/name`.
    pub name: ServiceName,
    /// Addresses that stand for the service (`ClusterIP`, or our VIP off Kubernetes).
    pub virtual_addresses: Vec<IpAddr>,
    /// What it serves, at least one.
    pub ports: Vec<ServicePort>,
    /// Who may answer as this service. Empty: it has no meshed workload and is called in plaintext, or with a port's TLS.
    pub identities: Vec<SpiffeId>,
    /// For requests that no route takes, and for connections that end up here.
    pub policy: Arc<TrafficPolicy>,
    /// In the order in which they are tried.
    pub routes: Vec<Route>,
    /// Where opaque connections go. A port that one of them is for has no other way; of those for one port and host name
    /// the first takes all.
    pub streams: Vec<StreamRoute>,
}

impl Service {
    /// The declared port with this number.
    #[inline]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port.get() == number)
    }
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty names are given as the protocol's.
    pub name: Name,
    /// The number callers use.
    pub port: Port,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Inside which TLS. `None`: the mesh's where there are sidecars, else none.
    pub tls: Option<Arc<BackendTls>>,
}

/// What is spoken on a port (`appProtocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Not declared: decided by the first bytes.
    Detect,
    /// HTTP/1.0 and HTTP/1.1 (`http`).
    Http1,
    /// HTTP/2 with prior knowledge (`kubernetes.io/h2c`, `http2`).
    Http2,
    /// gRPC over HTTP/2 (`grpc`).
    Grpc,
    /// Opaque bytes (`tcp`, `tls`).
    Tcp,
}
