//! `FaultPolicy`: errors and delays made on purpose, to see what callers do about them; always for a limited time.

use http::StatusCode;
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::value::{Percent, Timespan};

use super::{GrpcStatus, HeaderMatch, TargetRef};

/// Faults in requests on their way to a service, made by each caller's sidecar before anything is sent. Breakers,
/// ejection, retries and fallbacks take no notice: a rehearsal must not set off the real thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct FaultPolicySpec {
    /// What it is attached to (Service, HTTPRoute or GRPCRoute, or a rule of one); at least one. The narrowest target
    /// holds alone.
    pub target_refs: Vec<TargetRef>,
    /// From the acceptance of this version on, 1 s – 24 h; then it has no effect, and `usher status` says so. No
    /// default: whoever breaks something on purpose knows for how long. Editing the policy starts its time anew.
    pub expire_after: Timespan,
    /// Only requests that have all of these. Default: all requests.
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
    /// Requests that wait first. At least one of `delay` and `abort`.
    pub delay: Option<FaultDelay>,
    /// Requests that are answered by the sidecar instead, after their delay if they have one.
    pub abort: Option<FaultAbort>,
}

/// Requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct FaultDelay {
    /// How many, 1–100. Drawn for itself: 10 % delay and 10 % abort meet in 1 %.
    pub percent: Percent,
    /// How long, 1 ms – 5 min; the request's deadline keeps running.
    pub duration: Timespan,
}

/// Requests that are answered by the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct FaultAbort {
    /// How many, 1–100.
    pub percent: Percent,
    /// With what; exactly one of `status` and `grpcStatus`. A gRPC caller is told UNAVAILABLE for a status, any other
    /// caller 503 for a gRPC code.
    #[serde(flatten)]
    pub answer: FaultAnswer,
}

/// What an aborted request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum FaultAnswer {
    /// An HTTP status, 400–599.
    #[serde(serialize_with = "write_status")]
    Status(#[cfg_attr(test, schemars(with = "u16"))] StatusCode),
    /// A gRPC code.
    GrpcStatus(GrpcStatus),
}

fn write_status<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    status.as_u16().serialize(serializer)
}
