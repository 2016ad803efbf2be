//! A gateway as its own process sees it: listeners, and on each the routes that attached to it.

use std::sync::Arc;

use http::HeaderName;

use crate::value::{CertificateName, Hostname, Name, PathReading, Port, ServiceName};

use super::{Authentication, RateLimits, Route, StreamRoute, TrafficPolicy};

/// Where the outside world comes in.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// `namespace/name`: the Gateway object's, and that of the Workload that runs it.
    pub name: ServiceName,
    /// All of one port speak HTTP, or TLS (with HTTP inside or without), or opaque bytes.
    pub listeners: Vec<Listener>,
    /// Headers that only sidecars and gateways write claims into: taken from every request.
    pub claim_headers: Vec<HeaderName>,
    /// Whose tokens are believed, for requests that some route takes; `None`: nobody looks at any.
    pub authentication: Option<Authentication>,
    /// The same, instead, for the requests of the routes of this name.
    pub route_authentication: Vec<(Arc<str>, Authentication)>,
    /// For requests that some route takes. All must let one pass; those on trial only count.
    pub rate_limits: Vec<RateLimits>,
    /// The same, for the requests of the routes of this name.
    pub route_limits: Vec<(Arc<str>, RateLimits)>,
    /// What paths of requests mean.
    pub path_reading: PathReading,
}

/// A port, a protocol and a host name.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Unique in the gateway.
    pub name: Name,
    /// As configured; a process may bind another one for it.
    pub port: Port,
    /// Of a request or a TLS connection. `None`: any.
    pub hostname: Option<Hostname>,
    /// What is spoken, and what for.
    pub protocol: ListenerProtocol,
    /// Where TLS ends here: names of the certificates to show, the first that fits.
    pub certificates: Vec<CertificateName>,
    /// Where requests go, for the protocols with HTTP; in the order in which they are tried among those of one
    /// hostname.
    pub routes: Vec<GatewayRoute>,
    /// Where connections go, for the others; the first of those of one hostname takes all.
    pub streams: Vec<StreamRoute>,
}

/// What is spoken at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerProtocol {
    /// Plaintext HTTP.
    Http,
    /// HTTP over TLS that ends here.
    Https,
    /// Opaque bytes over TLS that ends here.
    TlsTerminate,
    /// TLS that the backend will open.
    TlsPassthrough,
    /// Opaque bytes.
    Tcp,
}

impl ListenerProtocol {
    /// Whether a connection begins with a TLS handshake.
    pub fn is_tls(self) -> bool {
        match self {
            Self::Https | Self::TlsTerminate | Self::TlsPassthrough => true,
            Self::Http | Self::Tcp => false,
        }
    }

    /// Whether this process answers that handshake.
    pub fn terminates(self) -> bool {
        match self {
            Self::Https | Self::TlsTerminate => true,
            Self::Http | Self::Tcp | Self::TlsPassthrough => false,
        }
    }
}

/// One match of one rule, for one hostname: at most one in `route.hostnames`, the intersection of the route's with the
/// listener's.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayRoute {
    /// What is matched and where it goes. Its policy is that of the route alone.
    pub route: Route,
    /// For each backend, in order: the service's policy with the route's on top. `None`: the route says nothing, the
    /// service's own policy holds.
    pub policies: Arc<[Option<Arc<TrafficPolicy>>]>,
}
