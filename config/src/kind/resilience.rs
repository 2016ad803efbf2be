//! The parts of `TrafficPolicy` that act on failure: ejection (one endpoint), breaker (the dependency), fallback.

use http::StatusCode;
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::value::{Percent, Timespan};

use super::ServiceRef;
use super::choice::choice;
use super::traffic_policy::both;

/// When one endpoint is taken out of balancing. Counts attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Ejection {
    /// Default true: writing `ejection` turns it on; `false` turns off what a wider policy turned on.
    pub enabled: Option<bool>,
    /// 5xx, gateway and connect errors in a row, 1–1000. Default 5 (Envoy's).
    pub consecutive_failures: Option<u32>,
    /// Eject by share of successes too. Default: only by failures in a row.
    pub success_rate: Option<SuccessRate>,
    /// First ejection; doubles with each further one. Default 5 s: a restart's length. ± 50 % jitter.
    pub base: Option<Timespan>,
    /// Default 5 min.
    pub max: Option<Timespan>,
    /// Share of a service's endpoints that may be out. Default 50: the rest must carry the load. Only at 100 may
    /// all be out, and then all are used.
    pub max_ejection_percent: Option<Percent>,
    /// Endpoints that always stay. Default 1.
    pub min_ready_endpoints: Option<u32>,
}

impl Ejection {
    /// What holds for an ejection that says nothing.
    pub fn defaults() -> Self {
        Self {
            enabled: Some(true),
            consecutive_failures: Some(5),
            success_rate: None,
            base: Some(Timespan::seconds(5)),
            max: Some(Timespan::seconds(300)),
            max_ejection_percent: Some(Percent::clamped(50)),
            min_ready_endpoints: Some(1),
        }
    }

    /// This one where it says something, `wider` where it does not.
    #[must_use]
    pub fn over(&self, wider: &Self) -> Self {
        Self {
            enabled: self.enabled.or(wider.enabled),
            consecutive_failures: self.consecutive_failures.or(wider.consecutive_failures),
            success_rate: both(
                self.success_rate.as_ref(),
                wider.success_rate.as_ref(),
                SuccessRate::over,
            ),
            base: self.base.or(wider.base),
            max: self.max.or(wider.max),
            max_ejection_percent: self.max_ejection_percent.or(wider.max_ejection_percent),
            min_ready_endpoints: self.min_ready_endpoints.or(wider.min_ready_endpoints),
        }
    }
}

/// Ejection by share of successes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SuccessRate {
    /// Below it the endpoint goes out. No default: what is normal differs by service.
    pub threshold: Percent,
    /// Default 10 s.
    pub window: Option<Timespan>,
    /// Fewer attempts in the window: no decision. Default 5.
    pub min_attempts: Option<u32>,
}

impl SuccessRate {
    /// The window of a success rate that names none.
    pub const DEFAULT_WINDOW: Timespan = Timespan::seconds(10);
    /// The attempts needed by a success rate that names none.
    pub const DEFAULT_MIN_ATTEMPTS: u32 = 5;

    fn over(&self, wider: &Self) -> Self {
        Self {
            threshold: self.threshold,
            window: self.window.or(wider.window),
            min_attempts: self.min_attempts.or(wider.min_attempts),
        }
    }
}

/// When a whole dependency is given a rest. Counts exchanges after retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Breaker {
    /// One breaker for the service, or one per route. Default Service.
    pub scope: Option<BreakerScope>,
    /// Whether an open breaker refuses or only says so. Default Enforce.
    pub mode: Option<BreakerMode>,
    /// Held by an operator. Default: the breaker decides.
    pub forced: Option<Forced>,
    /// What is looked at, 1 s – 10 min. Default 10 s, in 10 buckets.
    pub window: Option<Timespan>,
    /// Fewer in the window: no decision. Default 20: three failures at night are no outage.
    pub min_requests: Option<u32>,
    /// Opens at this share of failures, 1–100. Default 50 (resilience4j's).
    pub failure_rate: Option<Percent>,
    /// A call that takes longer is slow. Default 2 s. A call that its caller's own deadline ended sooner counts for neither
    /// side: keep this below the deadlines that callers set.
    pub slow_call_duration: Option<Timespan>,
    /// Opens at this share of slow calls, 1–100. Default 100: only when nothing is fast any more.
    pub slow_call_rate: Option<Percent>,
    /// First rest; doubles with each failed trial. Default 5 s, ± 50 % jitter.
    pub open_for: Option<Timespan>,
    /// Longest rest. Default 60 s: the end of an outage is noticed within a minute.
    pub max_open_for: Option<Timespan>,
    /// Trial requests after a rest, 1–15; all must succeed, and be fast: a slow one has not shown that the service is
    /// well, whatever `slowCallRate` says. Default 3: one may be luck.
    pub half_open_permits: Option<u32>,
    /// Trials that are under way for this long without a verdict count as failed. Default 10 s.
    pub max_wait: Option<Timespan>,
}

impl Breaker {
    /// What holds for a breaker that says nothing. `forced` has no default: nobody holds it.
    pub fn defaults() -> Self {
        Self {
            scope: Some(BreakerScope::Service),
            mode: Some(BreakerMode::Enforce),
            forced: None,
            window: Some(Timespan::seconds(10)),
            min_requests: Some(20),
            failure_rate: Some(Percent::clamped(50)),
            slow_call_duration: Some(Timespan::seconds(2)),
            slow_call_rate: Some(Percent::ALL),
            open_for: Some(Timespan::seconds(5)),
            max_open_for: Some(Timespan::seconds(60)),
            half_open_permits: Some(3),
            max_wait: Some(Timespan::seconds(10)),
        }
    }

    /// This one where it says something, `wider` where it does not.
    #[must_use]
    pub fn over(&self, wider: &Self) -> Self {
        Self {
            scope: self.scope.or(wider.scope),
            mode: self.mode.or(wider.mode),
            forced: self.forced.or(wider.forced),
            window: self.window.or(wider.window),
            min_requests: self.min_requests.or(wider.min_requests),
            failure_rate: self.failure_rate.or(wider.failure_rate),
            slow_call_duration: self.slow_call_duration.or(wider.slow_call_duration),
            slow_call_rate: self.slow_call_rate.or(wider.slow_call_rate),
            open_for: self.open_for.or(wider.open_for),
            max_open_for: self.max_open_for.or(wider.max_open_for),
            half_open_permits: self.half_open_permits.or(wider.half_open_permits),
            max_wait: self.max_wait.or(wider.max_wait),
        }
    }
}

choice! {
    /// What one breaker guards.
    pub enum BreakerScope {
        /// The destination service.
        Service = "Service",
        /// One route.
        Route = "Route",
    }
}

choice! {
    /// What an open breaker does.
    pub enum BreakerMode {
        /// Refuses requests.
        Enforce = "Enforce",
        /// Lets them pass and says what it would have done.
        Observe = "Observe",
    }
}

choice! {
    /// An operator's override.
    pub enum Forced {
        /// Refuse everything.
        Open = "Open",
        /// Refuse nothing.
        Closed = "Closed",
    }
}

/// What answers when the primary cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Fallback {
    /// When. Default `[Open, NoEndpoint]`: the cases in which the primary certainly did nothing.
    pub when: Option<Vec<FallbackWhen>>,
    /// Asking the fallback after the primary may have done the work does no harm (a fraud check: true; moving
    /// money: never). Widens `Exhausted` to such requests. Default false.
    pub repeatable: Option<bool>,
    /// Who answers; exactly one of `backendRef` and `response`.
    #[serde(flatten)]
    pub target: FallbackTarget,
}

impl Fallback {
    /// When a fallback acts that does not say when.
    pub const DEFAULT_WHEN: [FallbackWhen; 2] = [FallbackWhen::Open, FallbackWhen::NoEndpoint];
}

choice! {
    /// When a fallback acts.
    pub enum FallbackWhen {
        /// The breaker is open.
        Open = "Open",
        /// No endpoint is registered, or all fail their own health check.
        NoEndpoint = "NoEndpoint",
        /// Every allowed attempt failed.
        Exhausted = "Exhausted",
    }
}

/// Who answers instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum FallbackTarget {
    /// Another service; it has no fallback of its own in this role.
    BackendRef(ServiceRef),
    /// The sidecar itself.
    Response(StaticResponse),
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct StaticResponse {
    /// Any final status, 200–599. Default 200.
    #[serde(serialize_with = "write_status")]
    #[cfg_attr(test, schemars(with = "Option<u16>"))]
    pub status: StatusCode,
    /// At most 32, sent in this order; `content-length` and hop-by-hop headers are the proxy's.
    #[serde(default)]
    pub headers: Vec<ResponseHeader>,
    /// At most 64 KiB. Default empty.
    #[serde(default)]
    pub body: String,
}

/// A header of a fixed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ResponseHeader {
    /// Any case.
    #[serde(serialize_with = "write_name")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: http::HeaderName,
    /// Printable.
    #[serde(serialize_with = "write_value")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub value: http::HeaderValue,
}

fn write_status<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    status.as_u16().serialize(serializer)
}

fn write_name<S: Serializer>(name: &http::HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    name.as_str().serialize(serializer)
}

fn write_value<S: Serializer>(value: &http::HeaderValue, serializer: S) -> Result<S::Ok, S::Error> {
    String::from_utf8_lossy(value.as_bytes()).serialize(serializer)
}
