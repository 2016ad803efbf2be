//! `TrafficPolicy`: how requests are treated on their way to a service.
//!
//! Every field is optional: what a narrower policy leaves out shows through from the wider one, and under all of
//! them lies [`TrafficPolicySpec::defaults`]. [`TrafficPolicySpec::over`] is that rule, in one place.

use http::{HeaderName, StatusCode};
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::value::{Percent, Timespan};

use super::choice::choice;
use super::{Algorithm, Breaker, Ejection, Fallback, LoadBalancer, TargetRef};

/// How requests are treated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct TrafficPolicySpec {
    /// What it is attached to; at least one.
    pub target_refs: Vec<TargetRef>,
    /// How long.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How often.
    #[serde(default)]
    pub retry: Retry,
    /// How many at once.
    #[serde(default)]
    pub limits: Limits,
    /// When one endpoint is taken out. Default: never.
    pub ejection: Option<Ejection>,
    /// When the whole dependency is given a rest. Default: never; writing it (even empty) turns it on.
    pub breaker: Option<Breaker>,
    /// What answers instead. Default: nothing. Taken whole from the narrowest policy that has one: whether a
    /// request may be repeated against one fallback says nothing about another.
    pub fallback: Option<Fallback>,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
}

impl TrafficPolicySpec {
    /// What holds when nobody says anything; each field's reason is at the field.
    pub fn defaults() -> Self {
        Self {
            target_refs: Vec::new(),
            timeouts: Timeouts {
                request: Some(Timespan::seconds(15)),
                backend_request: Some(Timespan::seconds(0)),
                connect: Some(Timespan::seconds(1)),
                idle: Some(Timespan::seconds(300)),
                stream_max_duration: Some(Timespan::seconds(0)),
            },
            retry: Retry {
                attempts: Some(2),
                backoff: Backoff {
                    base: Some(Timespan::millis(25)),
                    max: Some(Timespan::millis(250)),
                },
                codes: Some(vec![
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ]),
                grpc_statuses: Some(Vec::new()),
                idempotent_methods: Some(Vec::new()),
                idempotency_header: None,
                replay_buffer_bytes: Some(64 * 1024),
                allow_nested: Some(false),
                budget: Budget {
                    percent: Some(Percent::clamped(20)),
                    interval: Some(Timespan::seconds(10)),
                },
                min_retry_rate: MinRetryRate {
                    count: Some(10),
                    interval: Some(Timespan::seconds(1)),
                },
            },
            limits: Limits {
                max_connections: Some(1024),
                max_pending_requests: Some(1024),
                max_concurrent_requests: Some(1024),
                per_endpoint: PerEndpointLimits::default(),
            },
            ejection: None,
            breaker: None,
            fallback: None,
            load_balancer: LoadBalancer {
                algorithm: Some(Algorithm::PeakEwma),
                ..LoadBalancer::default()
            },
        }
    }

    /// This policy where it says something, `wider` where it does not. The targets are this policy's.
    #[must_use]
    pub fn over(&self, wider: &Self) -> Self {
        Self {
            target_refs: self.target_refs.clone(),
            timeouts: self.timeouts.over(wider.timeouts),
            retry: self.retry.over(&wider.retry),
            limits: self.limits.over(wider.limits),
            ejection: both(
                self.ejection.as_ref(),
                wider.ejection.as_ref(),
                Ejection::over,
            ),
            breaker: both(self.breaker.as_ref(), wider.breaker.as_ref(), Breaker::over),
            fallback: self.fallback.as_ref().or(wider.fallback.as_ref()).cloned(),
            load_balancer: self.load_balancer.over(&wider.load_balancer),
        }
    }
}

/// Merges groups that may be absent.
pub(super) fn both<T: Clone>(
    narrow: Option<&T>,
    wide: Option<&T>,
    over: impl FnOnce(&T, &T) -> T,
) -> Option<T> {
    match (narrow, wide) {
        (Some(narrow), Some(wide)) => Some(over(narrow, wide)),
        (one, other) => one.or(other).cloned(),
    }
}

/// Bounds on time. `0s` means unlimited, except for `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Timeouts {
    /// To the final response's headers, retries included. Default 15 s (Envoy's): longer than people wait. For
    /// gRPC only a value written by somebody counts; otherwise `grpc-timeout` alone. On ports with `appProtocol: http`
    /// nothing is gRPC, and at a gateway only what a GRPCRoute or `appProtocol: grpc` says is.
    pub request: Option<Timespan>,
    /// One attempt, to its response headers; at most `request`. Default unlimited: `request` bounds it.
    pub backend_request: Option<Timespan>,
    /// TCP connection to an endpoint. Default 1 s: inside a data centre anything longer is a lost SYN.
    pub connect: Option<Timespan>,
    /// Without a byte either way, before the response's headers too: what has no other limit (gRPC without a deadline)
    /// must not hold its place for ever. Default 5 min.
    pub idle: Option<Timespan>,
    /// Whole life of a stream. Default unlimited: watches and chats live long.
    pub stream_max_duration: Option<Timespan>,
}

impl Timeouts {
    fn over(self, wider: Self) -> Self {
        Self {
            request: self.request.or(wider.request),
            backend_request: self.backend_request.or(wider.backend_request),
            connect: self.connect.or(wider.connect),
            idle: self.idle.or(wider.idle),
            stream_max_duration: self.stream_max_duration.or(wider.stream_max_duration),
        }
    }
}

/// When a failed attempt may be repeated: never unless it is provably safe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Retry {
    /// Retries after the first attempt, 0–10; 0 turns retries off. Default 2.
    pub attempts: Option<u32>,
    /// How long to wait in between.
    #[serde(default)]
    pub backoff: Backoff,
    /// Statuses of repeatable requests that are retried, 400–599. Default 502, 503, 504: what a failing hop says.
    #[serde(serialize_with = "write_codes")]
    #[cfg_attr(test, schemars(with = "Option<Vec<u16>>"))]
    pub codes: Option<Vec<StatusCode>>,
    /// gRPC codes that are retried for `idempotentMethods`, or with the idempotency header. Default none: gRPC
    /// is POST, and UNAVAILABLE does not say that nothing happened.
    pub grpc_statuses: Option<Vec<GrpcStatus>>,
    /// gRPC methods that may be repeated, `package.Service/Method`. Default none.
    pub idempotent_methods: Option<Vec<String>>,
    /// A request that carries it, with a value, may be repeated whatever its method (`Idempotency-Key`). Default none:
    /// the application must keep that promise. It is this service's alone: a fallback is not asked because of it.
    #[serde(serialize_with = "write_header")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub idempotency_header: Option<HeaderName>,
    /// How much of a request's body is kept for a repeat, 0–16 MiB. Default 64 KiB; larger bodies are not retried.
    pub replay_buffer_bytes: Option<u32>,
    /// Retry by status even if a sidecar above is retrying. Default false: three attempts at each of four hops
    /// is 81 requests.
    pub allow_nested: Option<bool>,
    /// What share of requests may be retries (GEP-3388).
    #[serde(default)]
    pub budget: Budget,
    /// How many retries are always allowed: keeps the budget from starving quiet services.
    #[serde(default)]
    pub min_retry_rate: MinRetryRate,
}

impl Retry {
    fn over(&self, wider: &Self) -> Self {
        let (own, wide) = (self.clone(), wider.clone());
        Self {
            attempts: own.attempts.or(wide.attempts),
            backoff: Backoff {
                base: own.backoff.base.or(wide.backoff.base),
                max: own.backoff.max.or(wide.backoff.max),
            },
            codes: own.codes.or(wide.codes),
            grpc_statuses: own.grpc_statuses.or(wide.grpc_statuses),
            idempotent_methods: own.idempotent_methods.or(wide.idempotent_methods),
            idempotency_header: own.idempotency_header.or(wide.idempotency_header),
            replay_buffer_bytes: own.replay_buffer_bytes.or(wide.replay_buffer_bytes),
            allow_nested: own.allow_nested.or(wide.allow_nested),
            budget: Budget {
                percent: own.budget.percent.or(wide.budget.percent),
                interval: own.budget.interval.or(wide.budget.interval),
            },
            min_retry_rate: MinRetryRate {
                count: own.min_retry_rate.count.or(wide.min_retry_rate.count),
                interval: own.min_retry_rate.interval.or(wide.min_retry_rate.interval),
            },
        }
    }
}

/// Full jitter in `[0, min((2^n − 1) · base, max))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Backoff {
    /// Default 25 ms: a few round trips.
    pub base: Option<Timespan>,
    /// Default 250 ms: still inside a person's patience.
    pub max: Option<Timespan>,
}

/// Retries are at most `percent` of the requests in `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Budget {
    /// Default 20: an outage adds a fifth of load, not a multiple.
    pub percent: Option<Percent>,
    /// Default 10 s.
    pub interval: Option<Timespan>,
}

/// `count` retries per `interval`, whatever the budget says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct MinRetryRate {
    /// Default 10.
    pub count: Option<u32>,
    /// Default 1 s.
    pub interval: Option<Timespan>,
}

/// How much at once, per service and proxy. Overflow is refused at once, never queued without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Limits {
    /// Connections to all endpoints together, at least 1. Default 1024 (Envoy's, as below). A worker thread may
    /// always have one to each endpoint, as in Envoy: with none it could only refuse.
    pub max_connections: Option<u32>,
    /// Requests waiting for a connection, at least 1: somebody has to wait for the first one. Default 1024.
    pub max_pending_requests: Option<u32>,
    /// Requests in flight, at least 1. Default 1024.
    pub max_concurrent_requests: Option<u32>,
    /// The same for one endpoint; requests go to another one before they are refused.
    #[serde(default)]
    pub per_endpoint: PerEndpointLimits,
}

impl Limits {
    fn over(self, wider: Self) -> Self {
        let (own, wide) = (self.per_endpoint, wider.per_endpoint);
        Self {
            max_connections: self.max_connections.or(wider.max_connections),
            max_pending_requests: self.max_pending_requests.or(wider.max_pending_requests),
            max_concurrent_requests: self
                .max_concurrent_requests
                .or(wider.max_concurrent_requests),
            per_endpoint: PerEndpointLimits {
                max_connections: own.max_connections.or(wide.max_connections),
                max_pending_requests: own.max_pending_requests.or(wide.max_pending_requests),
                max_concurrent_requests: own
                    .max_concurrent_requests
                    .or(wide.max_concurrent_requests),
            },
        }
    }
}

/// How much at once for one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct PerEndpointLimits {
    /// Connections, at least 1. Default unlimited: `limits.maxConnections` bounds their sum. A worker thread may
    /// always have one.
    pub max_connections: Option<u32>,
    /// Requests waiting for a connection, at least 1. Default unlimited, likewise.
    pub max_pending_requests: Option<u32>,
    /// Requests in flight, at least 1. Default unlimited: the balancer evens them out.
    pub max_concurrent_requests: Option<u32>,
}

choice! {
    /// gRPC's status codes but OK.
    pub enum GrpcStatus {
        /// 1
        Cancelled = "CANCELLED",
        /// 2
        Unknown = "UNKNOWN",
        /// 3
        InvalidArgument = "INVALID_ARGUMENT",
        /// 4
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        /// 5
        NotFound = "NOT_FOUND",
        /// 6
        AlreadyExists = "ALREADY_EXISTS",
        /// 7
        PermissionDenied = "PERMISSION_DENIED",
        /// 8
        ResourceExhausted = "RESOURCE_EXHAUSTED",
        /// 9
        FailedPrecondition = "FAILED_PRECONDITION",
        /// 10
        Aborted = "ABORTED",
        /// 11
        OutOfRange = "OUT_OF_RANGE",
        /// 12
        Unimplemented = "UNIMPLEMENTED",
        /// 13
        Internal = "INTERNAL",
        /// 14
        Unavailable = "UNAVAILABLE",
        /// 15
        DataLoss = "DATA_LOSS",
        /// 16
        Unauthenticated = "UNAUTHENTICATED",
    }
}

impl GrpcStatus {
    /// The number on the wire, 1–16.
    pub fn code(self) -> u8 {
        self as u8 + 1
    }
}

/// Statuses as their numbers.
pub(super) fn write_codes<S: Serializer>(
    codes: &Option<Vec<StatusCode>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let numbers = codes
        .as_ref()
        .map(|codes| codes.iter().map(StatusCode::as_u16).collect::<Vec<_>>());
    numbers.serialize(serializer)
}

fn write_header<S: Serializer>(
    name: &Option<HeaderName>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    name.as_ref().map(HeaderName::as_str).serialize(serializer)
}
