//! How requests to a service or through a route are treated, every field resolved.
//!
//! Defaults live in `kind::traffic_policy`, where people read them; [`TrafficPolicy::default`] repeats
//! them for tests and for services that no policy targets, and a test holds the two together.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::value::Percent;

use super::{Fault, LoadBalancer, ServiceTarget};

/// The whole treatment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrafficPolicy {
    /// `namespace/name` of the narrowest object that contributed; empty when only defaults did.
    pub name: Arc<str>,
    /// How long.
    pub timeouts: Timeouts,
    /// How often.
    pub retry: Retry,
    /// How many at once.
    pub limits: Limits,
    /// When one endpoint is taken out; `None`: never.
    pub ejection: Option<Ejection>,
    /// When the dependency is given a rest; `None`: never.
    pub breaker: Option<Breaker>,
    /// What answers instead.
    pub fallback: Option<Fallback>,
    /// How an endpoint is chosen.
    pub load_balancer: LoadBalancer,
    /// What goes wrong on purpose.
    pub fault: Option<Fault>,
}

/// Bounds on time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To the final response's headers, retries included. Default 15 s; `None`: unlimited.
    pub request: Option<Duration>,
    /// `request` was written by somebody, hence it also holds for gRPC, which otherwise has only `grpc-timeout`.
    pub request_is_explicit: bool,
    /// One attempt, to its response headers. Default `None`: only `request` bounds it.
    pub backend_request: Option<Duration>,
    /// TCP connection to an endpoint. Default 1 s: inside a data centre anything longer is a lost SYN.
    pub connect: Duration,
    /// Without a byte either way once headers have passed. Default 5 min; `None`: unlimited.
    pub idle: Option<Duration>,
    /// Whole life of a stream. Default `None`.
    pub stream_max: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: Some(Duration::from_secs(15)),
            request_is_explicit: false,
            backend_request: None,
            connect: Duration::from_secs(1),
            idle: Some(Duration::from_secs(300)),
            stream_max: None,
        }
    }
}

/// When a failed attempt may be repeated (SEMANTICS: never unless provably safe).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Retries after the first attempt (Gateway API's meaning). Default 2.
    pub attempts: u32,
    /// Full jitter in `[0, min((2^n − 1) · base, max))`. Default 25 ms.
    pub backoff_base: Duration,
    /// Default 250 ms.
    pub backoff_max: Duration,
    /// Statuses of *repeatable* requests that are retried. Default 502, 503, 504.
    pub statuses: Vec<StatusCode>,
    /// gRPC codes retried for `idempotent_methods`, or with the idempotency header. Default none.
    pub grpc_statuses: Vec<u8>,
    /// gRPC methods that may be repeated, `package.Service/Method`.
    pub idempotent_methods: Vec<String>,
    /// A request that carries it may be repeated whatever its method. Default none.
    pub idempotency_header: Option<HeaderName>,
    /// How much of a request body is kept for a repeat, in bytes. Default 64 KiB; larger bodies are not retried.
    pub replay_buffer_bytes: usize,
    /// Retry by status even if somebody above us is retrying. Default false: nested retries multiply.
    pub allow_nested: bool,
    /// What share of requests may be retries.
    pub budget: RetryBudget,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            statuses: vec![
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            grpc_statuses: Vec::new(),
            idempotent_methods: Vec::new(),
            idempotency_header: None,
            replay_buffer_bytes: 64 * 1024,
            allow_nested: false,
            budget: RetryBudget::default(),
        }
    }
}

/// GEP-3388: retries are at most `percent` of requests in `interval`, but `min_count` per `min_interval` always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryBudget {
    /// Default 20.
    pub percent: Percent,
    /// Default 10 s.
    pub interval: Duration,
    /// Default 10.
    pub min_count: u32,
    /// Default 1 s.
    pub min_interval: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            percent: Percent::clamped(20),
            interval: Duration::from_secs(10),
            min_count: 10,
            min_interval: Duration::from_secs(1),
        }
    }
}

/// How much at once, per service and proxy. Overflow is refused at once (`UO`), never queued without bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections to all endpoints together. Default 1024. A worker thread may always have one to each endpoint: with
    /// none it could only refuse.
    pub max_connections: u32,
    /// Requests waiting for a connection. Default 1024.
    pub max_pending_requests: u32,
    /// Requests in flight. Default 1024.
    pub max_concurrent_requests: u32,
    /// The same for each endpoint.
    pub per_endpoint: PerEndpointLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_concurrent_requests: 1024,
            per_endpoint: PerEndpointLimits::default(),
        }
    }
}

/// How much at once for one endpoint. Default `None`: unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerEndpointLimits {
    /// Connections. A worker thread may always have one.
    pub max_connections: Option<u32>,
    /// Requests waiting for a connection.
    pub max_pending_requests: Option<u32>,
    /// Requests in flight.
    pub max_concurrent_requests: Option<u32>,
}

/// When one endpoint is taken out of balancing. Counts attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// 5xx, gateway and connect errors in a row. Default 5.
    pub consecutive_failures: u32,
    /// Eject by success rate too; `None`: only by consecutive failures.
    pub success_rate: Option<SuccessRate>,
    /// First ejection; doubles with each further one. Default 5 s, ± 50 % jitter.
    pub base: Duration,
    /// Default 5 min.
    pub max: Duration,
    /// Of a service's endpoints. Default 50 %; only at 100 may all be out (then all are used: panic).
    pub max_percent: Percent,
    /// Endpoints that always stay. Default 1.
    pub min_ready: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate: None,
            base: Duration::from_secs(5),
            max: Duration::from_secs(300),
            max_percent: Percent::clamped(50),
            min_ready: 1,
        }
    }
}

/// Ejection by share of successes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessRate {
    /// Below it the endpoint goes out.
    pub threshold: Percent,
    /// Default 10 s.
    pub window: Duration,
    /// Default 5 attempts in the window, else no decision.
    pub min_attempts: u32,
}

/// When a whole dependency is given a rest. Counts exchanges after retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// One breaker per service, or per route.
    pub scope: BreakerScope,
    /// Whether an open breaker refuses, or only says so.
    pub mode: BreakerMode,
    /// Held open or closed by an operator.
    pub forced: Forced,
    /// Looked at in 10 buckets. Default 10 s.
    pub window: Duration,
    /// Fewer in the window: no decision. Default 20.
    pub min_requests: u32,
    /// Opens at this share of failures. Default 50 %.
    pub failure_percent: Percent,
    /// A call longer than this is slow. Default 2 s.
    pub slow_call: Duration,
    /// Opens at this share of slow calls. Default 100 %.
    pub slow_percent: Percent,
    /// First rest; doubles with each failed half-open. Default 5 s, ± 50 % jitter.
    pub open_for: Duration,
    /// Default 60 s.
    pub open_for_max: Duration,
    /// Trial requests in half-open; all must succeed. Default 3.
    pub half_open_permits: u8,
    /// Half-open without a verdict for this long opens again. Default 10 s.
    pub half_open_max_wait: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            scope: BreakerScope::Service,
            mode: BreakerMode::Enforce,
            forced: Forced::No,
            window: Duration::from_secs(10),
            min_requests: 20,
            failure_percent: Percent::clamped(50),
            slow_call: Duration::from_secs(2),
            slow_percent: Percent::ALL,
            open_for: Duration::from_secs(5),
            open_for_max: Duration::from_secs(60),
            half_open_permits: 3,
            half_open_max_wait: Duration::from_secs(10),
        }
    }
}

/// What one breaker guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerScope {
    /// The destination service.
    Service,
    /// One route.
    Route,
}

/// What an open breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerMode {
    /// Refuses requests.
    Enforce,
    /// Lets them pass; metrics and events say what it would have done.
    Observe,
}

/// An operator's override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forced {
    /// None: the breaker decides.
    No,
    /// Refuse everything.
    Open,
    /// Refuse nothing.
    Closed,
}

/// What answers when the primary cannot.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// The breaker is open.
    pub on_open: bool,
    /// No endpoint is registered, or all fail their own health check.
    pub on_no_endpoint: bool,
    /// Every allowed attempt failed; for requests that are not repeatable only if all were provably unprocessed.
    pub on_exhausted: bool,
    /// The author of the policy vouches that asking the fallback after the primary did the work does no harm.
    pub repeatable: bool,
    /// Who answers.
    pub target: FallbackTarget,
}

/// Who answers instead.
#[derive(Debug, Clone, PartialEq)]
pub enum FallbackTarget {
    /// Another service; it has no fallback of its own in this role.
    Service(ServiceTarget),
    /// The proxy itself.
    Response(StaticResponse),
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticResponse {
    /// Any final status.
    pub status: StatusCode,
    /// Sent as they are.
    pub headers: HeaderMap,
    /// At most 64 KiB.
    pub body: Bytes,
}
