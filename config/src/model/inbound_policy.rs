//! What an instance enforces on the requests it receives.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};

use crate::value::{Name, PathReading, Percent, Port, ServiceName, SpiffeId, path};

use super::{Authentication, Protocol, RateLimits};

/// Everything a workload's own sidecar must know about its workload.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundPolicy {
    /// Whose.
    pub service: ServiceName,
    /// Who may speak at all.
    pub mtls: MtlsMode,
    /// The service's ports and what is spoken there.
    pub ports: Vec<(Port, Protocol)>,
    /// Whose tokens are believed; `None`: nobody looks at any.
    pub authentication: Option<Authentication>,
    /// Headers that only sidecars and gateways write claims into: taken from whoever is none of `gateways`.
    pub claim_headers: Vec<HeaderName>,
    /// Who runs the mesh's gateways. They let nobody else write claims; what a workload says of its callers is hearsay.
    pub gateways: Vec<SpiffeId>,
    /// All must allow a request. Empty: every caller that `mtls` lets in.
    pub access: Vec<AccessPolicy>,
    /// All must let a request pass that may be made; those on trial only count.
    pub rate_limits: Vec<RateLimits>,
    /// How to find out whether the application is well; `None`: TCP connect to its port.
    pub health_check: Option<HealthCheck>,
    /// What to write down.
    pub telemetry: Telemetry,
    /// How long a stream may live without a byte either way: the service's own `timeouts.idle`, so that callers'
    /// sidecars and this one agree on when it is over. Default 5 min, `None`: for ever.
    pub idle: Option<Duration>,
    /// Where the workload runs, for a sidecar that was not told at its start; empty when nobody said.
    pub zone: String,
    /// Where its own intercepted connections may go; the workload's, not its callers'.
    pub outbound: OutboundTraffic,
    /// What paths of the requests mean that it sends or receives.
    pub path_reading: PathReading,
}

/// Where intercepted connections of a workload may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutboundTraffic {
    /// Anywhere; what is known to be no service, as it is.
    #[default]
    PassThrough,
    /// The same for what nobody could be asked about.
    PassThroughUnknown,
    /// To services only.
    RegistryOnly,
}

/// Whether plaintext is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MtlsMode {
    /// Mutual TLS only: the default between meshed workloads.
    #[default]
    Strict,
    /// Plaintext too, counted and listed.
    Permissive,
}

/// Who may do what, from one `AccessPolicy` object.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessPolicy {
    /// `namespace/name`, named in the 403 inside the mesh.
    pub name: Arc<str>,
    /// What happens to requests that no rule takes.
    pub deny_by_default: bool,
    /// Logs and counts, refuses nothing.
    pub dry_run: bool,
    /// Any of them allows.
    pub rules: Vec<AccessRule>,
    /// The object is broken and no earlier version was accepted: everything is denied.
    pub invalid: bool,
}

/// `from` × `to`: in each list any entry suffices, an empty list asks nothing, all lists must agree.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccessRule {
    /// Exact identities.
    pub principals: Vec<SpiffeId>,
    /// Callers' namespaces.
    pub namespaces: Vec<Name>,
    /// Callers' namespace and service account.
    pub service_accounts: Vec<(Name, Name)>,
    /// Of the request's verified token, all of them. A rule with one never allows TCP.
    pub claims: Vec<ClaimRule>,
    /// HTTP methods. A rule with one never allows TCP.
    pub methods: Vec<Method>,
    /// Normalised paths. A rule with one never allows TCP.
    pub paths: Vec<PathRule>,
    /// The service's ports.
    pub ports: Vec<Port>,
}

/// A claim, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    /// At the top of the token.
    pub claim: Arc<str>,
    /// Any of them.
    pub values: Vec<String>,
}

/// A path in an access rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRule {
    /// Byte for byte.
    Exact(String),
    /// The path and everything below it, by whole segments as Gateway API's `PathPrefix`. Ends in `/`: `/v1/*` in
    /// YAML is `/v1/`, which covers `/v1` and `/v1/a` but not `/v1beta`.
    Prefix(String),
}

impl PathRule {
    /// Whether the rule is about this (normalised) path.
    #[inline]
    pub fn covers(&self, path: &str) -> bool {
        let path = path::without_parameters(path);
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                path.starts_with(prefix.as_str()) || prefix.strip_suffix('/') == Some(path)
            }
        }
    }
}

/// How a sidecar finds out whether its application is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: HealthProbe,
    /// Between checks. Default 1 s.
    pub interval: Duration,
    /// For one check. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy. Default 3.
    pub failure_threshold: u32,
    /// Successes in a row that make it healthy. Default 1.
    pub success_threshold: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthProbe {
    /// GET: 200–399 is well.
    Http {
        /// Absolute path.
        path: String,
    },
    /// `grpc.health.v1.Health/Check`: SERVING is well.
    Grpc {
        /// May be empty: the whole server.
        service: String,
    },
    /// A connection is well.
    Tcp,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            probe: HealthProbe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failure_threshold: 3,
            success_threshold: 1,
        }
    }
}

/// What a sidecar writes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Which requests get a line.
    pub access_log: AccessLogMode,
    /// Of the lines that `access_log` selects. Default 100 %.
    pub access_log_sample: Percent,
    /// Of traces that begin here; started ones follow their parent. Default 1 %.
    pub trace_sample: Percent,
}

/// Which requests get an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccessLogMode {
    /// Each.
    #[default]
    All,
    /// Status ≥ 500, gRPC status ≠ 0, or any flag.
    Errors,
    /// None.
    Off,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            access_log: AccessLogMode::All,
            access_log_sample: Percent::ALL,
            trace_sample: Percent::clamped(1),
        }
    }
}
