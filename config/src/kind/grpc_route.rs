//! `GRPCRoute` (Gateway API v1): gRPC calls → services. Shape and meaning are upstream's.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Hostname, Name};

use super::{GrpcBackendRef, GrpcFilter, GrpcMethodMatch, HeaderMatch, ParentRef};

/// Which gRPC calls go where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GrpcRouteSpec {
    /// The Services or Gateways whose calls it takes; at least one.
    pub parent_refs: Vec<ParentRef>,
    /// Through a Gateway, only calls to these hosts. Empty: all. For a parent that is a Service they have no effect: who
    /// calls it has named it. A match of the header `Host` looks at the name.
    #[serde(default)]
    pub hostnames: Vec<Hostname>,
    /// At least one, at most 16; with at most 128 matches together.
    pub rules: Vec<GrpcRouteRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GrpcRouteRule {
    /// What policies' `sectionName` and metrics call it.
    pub name: Option<Name>,
    /// Any of them suffices; empty takes every call.
    #[serde(default)]
    pub matches: Vec<GrpcRouteMatch>,
    /// What is done to the calls and their answers. At most 16.
    #[serde(default)]
    pub filters: Vec<GrpcFilter>,
    /// Where the calls go, by weight. Empty answers UNAVAILABLE.
    #[serde(default)]
    pub backend_refs: Vec<GrpcBackendRef>,
}

/// All of these must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GrpcRouteMatch {
    /// Default: every method.
    pub method: Option<GrpcMethodMatch>,
    /// Each must match (gRPC calls them metadata).
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
}
