//! `HTTPRoute` (Gateway API v1): HTTP requests → services. Shape and meaning are upstream's.

use http::StatusCode;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Hostname, Name, Timespan};

use super::{
    HeaderMatch, HttpBackendRef, HttpFilter, HttpMethod, ParentRef, PathMatch, QueryMatch,
};

/// Which HTTP requests go where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HttpRouteSpec {
    /// The Services or Gateways whose requests it takes; at least one.
    pub parent_refs: Vec<ParentRef>,
    /// Through a Gateway, only requests to these hosts. Empty: all. For a parent that is a Service they have no effect: who
    /// calls it has named it. A match of the header `Host` looks at the name.
    #[serde(default)]
    pub hostnames: Vec<Hostname>,
    /// At least one, at most 16; with at most 128 matches together.
    pub rules: Vec<HttpRouteRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HttpRouteRule {
    /// What policies' `sectionName` and metrics call it.
    pub name: Option<Name>,
    /// Any of them suffices; empty takes every request.
    #[serde(default)]
    pub matches: Vec<HttpRouteMatch>,
    /// What is done to the requests and their answers. At most 16.
    #[serde(default)]
    pub filters: Vec<HttpFilter>,
    /// Where the requests go, by weight. Empty answers 500, but for a redirect.
    #[serde(default)]
    pub backend_refs: Vec<HttpBackendRef>,
    /// How long; goes before any TrafficPolicy.
    #[serde(default)]
    pub timeouts: HttpRouteTimeouts,
    /// How often; goes before any TrafficPolicy.
    #[serde(default)]
    pub retry: HttpRouteRetry,
}

/// All of these must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HttpRouteMatch {
    /// Default: every path.
    pub path: Option<PathMatch>,
    /// Default: every method.
    pub method: Option<HttpMethod>,
    /// Each must match.
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
    /// Each must match.
    #[serde(default)]
    pub query_params: Vec<QueryMatch>,
}

/// GEP-1742. `0s` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HttpRouteTimeouts {
    /// To the final response's headers, retries included.
    pub request: Option<Timespan>,
    /// One attempt; at most `request`.
    pub backend_request: Option<Timespan>,
}

/// GEP-1731. Only requests that may safely be repeated are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HttpRouteRetry {
    /// Statuses that are retried, 400–599.
    #[serde(serialize_with = "super::traffic_policy::write_codes")]
    #[cfg_attr(test, schemars(with = "Option<Vec<u16>>"))]
    pub codes: Option<Vec<StatusCode>>,
    /// Retries after the first attempt.
    pub attempts: Option<u32>,
    /// Before the first retry; grows with each.
    pub backoff: Option<Timespan>,
}
