//! Why this proxy did not simply carry a request: one enum, exhaustive, for all stages.
//!
//! A [`ProxyError`] knows who is to blame ([`Side`]), which [`Flag`] stands in logs and metrics, and a
//! slug for `x-usher-reason`. It does not know HTTP statuses: only `http::error_response` picks those.

mod exceeded;
mod flag;
mod limit;
mod misdirected;
mod processing;
mod refusal;
mod side;
mod token_problem;
mod words;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use usher_config::{
    model::FaultAnswer,
    value::{Port, ServiceName},
};

pub use exceeded::{Exceeded, seconds};
pub use flag::{Flag, Flags};
pub use limit::Limit;
pub use misdirected::Misdirected;
pub use processing::Processing;
pub use refusal::Refusal;
pub use side::Side;
pub use token_problem::TokenProblem;
use words::{OUTSIDE, no_such_host, no_such_port, refused};

/// Everything that can end a request in this proxy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProxyError {
    /// Ambiguous or malformed beyond what may be forwarded (SEMANTICS §10).
    #[error("request refused: {}", refused(reason))]
    InvalidRequest {
        /// What is wrong, in words a caller can act on; constant text, it becomes part of the slug.
        reason: &'static str,
    },
    /// Not one unambiguous HTTP/1 message (RFC 9112).
    #[error("request refused: {}", refused(refusal.slug()))]
    Refused {
        /// What is wrong.
        refusal: Refusal,
    },
    /// HTTP/2 has no upgrades, and that is what the port declares.
    #[error(
        "the port speaks HTTP/2, which has no upgrades: give what is upgraded to (WebSocket) a port with appProtocol http"
    )]
    UpgradeRefused,
    /// Plaintext to a workload that wants mutual TLS.
    #[error("this workload accepts mutual TLS only: call it through a sidecar")]
    PlaintextRefused,
    /// An access policy says no.
    #[error("denied by access policy {policy}")]
    AccessDenied {
        /// `namespace/name`.
        policy: Arc<str>,
    },
    /// Its token is missing, or not believed.
    #[error("authentication policy {policy}: {why}")]
    Unauthenticated {
        /// `namespace/name`.
        policy: Arc<str>,
        /// In what way.
        why: TokenProblem,
    },
    /// The caller's deadline had passed on arrival, or passed while we waited for an answer.
    #[error("the caller's deadline has passed")]
    DeadlineExpired,
    /// The authority is no name a service can have.
    #[error("{}", no_such_host(host))]
    NoSuchHost {
        /// As asked for.
        host: Arc<str>,
    },
    /// Nobody of the mesh is where an intercepted connection was going.
    #[error(
        "nobody in the mesh's registry is at {destination}: declare a Service there, or let connections pass with outboundTraffic: PassThrough in the Mesh"
    )]
    NoSuchDestination {
        /// As the application dialled it.
        destination: SocketAddr,
    },
    /// There is nothing for this request here.
    #[error("{host}: {why}")]
    Misdirected {
        /// As asked for.
        host: Arc<str>,
        /// In what way.
        why: Misdirected,
    },
    /// The authority could be the name of a service, but the control plane knows none of that name.
    #[error(
        "{host} is no service of the mesh (there is no Service {service}; a Workload without one only calls), and nothing else is reached through this sidecar: {OUTSIDE},{host}"
    )]
    NotInMesh {
        /// As asked for.
        host: Arc<str>,
        /// What that would mean.
        service: ServiceName,
    },
    /// The control plane does not know this service.
    #[error("service {service} is not known")]
    UnknownService {
        /// Who was asked for.
        service: ServiceName,
    },
    /// HTTP for a port that says it carries none.
    #[error(
        "port {port} of service {service} is declared tcp: HTTP is not carried there; give it a local listener (--tcp), or its port an appProtocol that is HTTP"
    )]
    PortIsTcp {
        /// Who was asked for.
        service: ServiceName,
        /// Its port.
        port: Port,
    },
    /// The control plane did not answer in time, or not usably.
    #[error("{sought} could not be looked up within {limit:?}")]
    DiscoveryTimeout {
        /// A service, or whoever is at an address.
        sought: Arc<str>,
        /// How long we waited.
        limit: Duration,
    },
    /// The service has no such port, or several and the caller named none.
    #[error("{}", no_such_port(service, *port, known))]
    NoSuchPort {
        /// Who was asked for.
        service: ServiceName,
        /// `None`: the caller named none and there is no obvious default.
        port: Option<Port>,
        /// Those that it has.
        known: Box<[Port]>,
    },
    /// The chosen backend of a route cannot be resolved.
    #[error("route {route} has a backend that does not exist")]
    InvalidBackend {
        /// Route name.
        route: Arc<str>,
    },
    /// None registered, or all failing their own health check.
    #[error("service {service} has no healthy endpoint")]
    NoEndpoint {
        /// Who was asked for.
        service: ServiceName,
    },
    /// The dependency is being given a rest.
    #[error("breaker of service {service} is open")]
    BreakerOpen {
        /// Whose breaker.
        service: ServiceName,
        /// When asking again may help.
        retry_after: Duration,
    },
    /// A rehearsal: nothing was sent.
    #[error("aborted on purpose by fault policy {policy}")]
    FaultInjected {
        /// `namespace/name`.
        policy: Arc<str>,
        /// With what.
        answer: FaultAnswer,
    },
    /// One of the service's limits is reached.
    #[error("service {service} is at its limit of {most}: spec.limits.{limit} of a TrafficPolicy")]
    Overflow {
        /// Whose limit.
        service: ServiceName,
        /// Which.
        limit: Limit,
        /// What it is.
        most: u32,
    },
    /// A rate limit has no room for the request.
    #[error("limit {limit} of rate limit policy {policy} ({exceeded}) has no room left: try again in {}", exceeded.again())]
    RateLimited {
        /// `namespace/name`.
        policy: Arc<str>,
        /// Its name there.
        limit: Arc<str>,
        /// What it is, and when there is room again.
        exceeded: Exceeded,
    },
    /// TCP connection refused or unreachable.
    #[error("no connection to endpoint {endpoint}: {cause}")]
    ConnectFailed {
        /// Where to.
        endpoint: SocketAddr,
        /// The operating system's words.
        cause: std::io::ErrorKind,
    },
    /// TCP connection not there in time.
    #[error("endpoint {endpoint} did not accept a connection within {limit:?}")]
    ConnectTimeout {
        /// Where to.
        endpoint: SocketAddr,
        /// The bound.
        limit: Duration,
    },
    /// Handshake failed, or the peer is not who it should be. No request byte was sent.
    #[error("no TLS with endpoint {endpoint}: {cause}")]
    TlsFailed {
        /// Where to.
        endpoint: SocketAddr,
        /// Why.
        cause: Arc<str>,
    },
    /// Its port is to be spoken to inside TLS, and it is not known how to verify who answers: not even dialled.
    #[error("nothing is sent to endpoint {endpoint}: {cause}")]
    Unverifiable {
        /// Where to.
        endpoint: SocketAddr,
        /// Why.
        cause: Arc<str>,
    },
    /// The stream was reset, or the connection died, before the response's head.
    #[error("endpoint {endpoint} broke off before its response ({processing})")]
    UpstreamReset {
        /// Who.
        endpoint: SocketAddr,
        /// Whether the request may have had an effect.
        processing: Processing,
    },
    /// The endpoint's sidecar says that its application has not seen the request (RFC 9113 §8.7, `REFUSED_STREAM`), or
    /// passes on that the application says so itself, in HTTP/2. No header can say it.
    #[error(
        "the sidecar of endpoint {endpoint} refused the request, which its application has not processed (not reachable, or \
         it said so): the access log there says more"
    )]
    RefusedUnseen {
        /// Whose.
        endpoint: SocketAddr,
    },
    /// A connection that the endpoint's sidecar ended before a byte had come back through it: how it refuses one.
    #[error(
        "the sidecar of endpoint {endpoint} ended the connection before a byte came back: its application takes none, or it \
         may not have this one; the access log there says more"
    )]
    NotTaken {
        /// Whose.
        endpoint: SocketAddr,
    },
    /// A reused HTTP/1.1 connection died before any response byte: most likely its idle timeout fired.
    #[error("reused connection to endpoint {endpoint} was closed under the request")]
    IdleRace {
        /// Who.
        endpoint: SocketAddr,
        /// How long it had been idle before.
        idled: Duration,
    },
    /// The connection or stream ended in the middle of the response.
    #[error("endpoint {endpoint} broke off during its response")]
    UpstreamBrokeOff {
        /// Who.
        endpoint: SocketAddr,
    },
    /// What came back is not HTTP, or not within bounds.
    #[error("endpoint {endpoint} violated the protocol")]
    UpstreamProtocol {
        /// Who.
        endpoint: SocketAddr,
    },
    /// No final response head in time.
    #[error("no response within {limit:?}")]
    RequestTimeout {
        /// The bound that fired: the route's timeout or what was left of the caller's deadline.
        limit: Duration,
    },
    /// One attempt took too long.
    #[error("endpoint {endpoint} did not respond within {limit:?}")]
    AttemptTimeout {
        /// Who.
        endpoint: SocketAddr,
        /// `backendRequest`.
        limit: Duration,
    },
    /// Nothing moved on the stream for too long.
    #[error("stream idle for {limit:?}")]
    StreamIdle {
        /// The bound.
        limit: Duration,
    },
    /// The stream's whole life is over.
    #[error("stream lived longer than {limit:?}")]
    StreamTooLong {
        /// The bound.
        limit: Duration,
    },
    /// The caller went away; nobody reads an answer.
    #[error("the caller went away")]
    DownstreamGone,
    /// The caller's body broke off or was malformed.
    #[error("the request body broke off")]
    DownstreamBody,
    /// An invariant of ours does not hold. Counted in `usher_internal_errors_total`.
    #[error("internal error: {what}")]
    Internal {
        /// Which invariant.
        what: &'static str,
    },
}

impl ProxyError {
    /// The flag that stands for it in logs, metrics and `x-usher-reason`.
    pub fn flag(&self) -> Flag {
        match self {
            Self::InvalidRequest { .. } | Self::Refused { .. } | Self::UpgradeRefused => Flag::Dpe,
            Self::PlaintextRefused | Self::AccessDenied { .. } => Flag::Az,
            Self::Unauthenticated { .. } => Flag::Jw,
            Self::DeadlineExpired => Flag::De,
            Self::NoSuchHost { .. }
            | Self::NoSuchDestination { .. }
            | Self::Misdirected { .. }
            | Self::NoSuchPort { .. }
            | Self::PortIsTcp { .. } => Flag::Nr,
            Self::UnknownService { .. }
            | Self::NotInMesh { .. }
            | Self::DiscoveryTimeout { .. }
            | Self::InvalidBackend { .. } => Flag::Nc,
            Self::NoEndpoint { .. } => Flag::Uh,
            Self::BreakerOpen { .. } => Flag::Bo,
            Self::FaultInjected { .. } => Flag::Fi,
            Self::Overflow { .. } => Flag::Uo,
            Self::RateLimited { .. } => Flag::Rl,
            Self::ConnectFailed { .. }
            | Self::ConnectTimeout { .. }
            | Self::TlsFailed { .. }
            | Self::Unverifiable { .. }
            | Self::RefusedUnseen { .. }
            | Self::NotTaken { .. } => Flag::Uf,
            Self::UpstreamReset { .. } => Flag::Ur,
            Self::IdleRace { .. } => Flag::Cr,
            Self::UpstreamBrokeOff { .. } => Flag::Uc,
            Self::UpstreamProtocol { .. } => Flag::Upe,
            Self::RequestTimeout { .. } | Self::AttemptTimeout { .. } => Flag::Ut,
            Self::StreamIdle { .. } => Flag::Si,
            Self::StreamTooLong { .. } => Flag::Dt,
            Self::DownstreamGone | Self::DownstreamBody => Flag::Dc,
            Self::Internal { .. } => Flag::Lr,
        }
    }

    /// Constant kebab-case words after the flag in `x-usher-reason`.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::InvalidRequest { reason } => reason,
            Self::Refused { refusal } => refusal.slug(),
            Self::UpgradeRefused => "upgrade-not-carried",
            Self::PlaintextRefused => "mutual-tls-required",
            Self::AccessDenied { .. } => "access-denied",
            Self::Unauthenticated { why, .. } => why.slug(),
            Self::DeadlineExpired => "deadline-passed",
            Self::NoSuchHost { .. } => "authority-is-no-service",
            Self::NoSuchDestination { .. } => "destination-is-no-service",
            Self::Misdirected { why, .. } => why.slug(),
            Self::PortIsTcp { .. } => "port-is-tcp",
            Self::UnknownService { .. } | Self::NotInMesh { .. } => "service-unknown",
            Self::DiscoveryTimeout { .. } => "discovery-timeout",
            Self::NoSuchPort { .. } => "no-such-port",
            Self::InvalidBackend { .. } => "backend-unresolvable",
            Self::NoEndpoint { .. } => "no-healthy-endpoint",
            Self::BreakerOpen { .. } => "breaker-open",
            Self::FaultInjected { .. } => "fault-injected",
            Self::Overflow { limit, .. } => limit.slug(),
            Self::RateLimited { .. } => "rate-limited",
            Self::ConnectFailed { .. } => "connect-failed",
            Self::ConnectTimeout { .. } => "connect-timeout",
            Self::TlsFailed { .. } => "tls-failed",
            Self::Unverifiable { .. } => "tls-unverifiable",
            Self::UpstreamReset { .. } => "upstream-reset",
            Self::RefusedUnseen { .. } => "refused-unseen",
            Self::NotTaken { .. } => "connection-not-taken",
            Self::UpstreamBrokeOff { .. } => "upstream-broke-off",
            Self::IdleRace { .. } => "reused-connection-closed",
            Self::UpstreamProtocol { .. } => "upstream-protocol-violation",
            Self::RequestTimeout { .. } => "request-timeout",
            Self::AttemptTimeout { .. } => "attempt-timeout",
            Self::StreamIdle { .. } => "stream-idle",
            Self::StreamTooLong { .. } => "stream-max-duration",
            Self::DownstreamGone => "caller-went-away",
            Self::DownstreamBody => "request-body-broke-off",
            Self::Internal { .. } => "internal",
        }
    }

    /// An endpoint's own limit refused: another endpoint may do, and nothing was sent yet.
    pub fn endpoint_is_full(&self) -> bool {
        matches!(self, Self::Overflow { limit, .. } if limit.is_per_endpoint())
    }
}
