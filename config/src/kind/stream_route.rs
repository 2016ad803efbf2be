//! `TLSRoute` and `TCPRoute` (Gateway API): connections → services. Shape and meaning are upstream's.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Hostname, Name};

use super::{BackendRef, Kind, ParentRef};

/// Which TLS connections go where, by the name that the caller asks for (SNI).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct TlsRouteSpec {
    /// The Gateways and Services whose connections it takes; at least one.
    pub parent_refs: Vec<ParentRef>,
    /// Only connections to these hosts; at least one, at most 16.
    pub hostnames: Vec<Hostname>,
    /// Exactly one: there is nothing else to match.
    pub rules: Vec<StreamRule>,
}

/// Where the TCP connections to a listener or to a Service's port go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct TcpRouteSpec {
    /// The Gateways and Services whose connections it takes; at least one.
    pub parent_refs: Vec<ParentRef>,
    /// Exactly one: there is nothing to match.
    pub rules: Vec<StreamRule>,
}

/// The one rule of a route for connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct StreamRule {
    /// What logs call it.
    pub name: Option<Name>,
    /// Where the connections go, by weight. At least one.
    pub backend_refs: Vec<BackendRef>,
}

impl Kind {
    /// Whether it is a route for connections, not for requests.
    pub fn is_of_connections(self) -> bool {
        matches!(self, Self::TlsRoute | Self::TcpRoute)
    }

    /// Which of several kinds of routes has a port of a Service to itself: the least (GEP-1426, "Route types").
    pub fn route_precedence(self) -> u8 {
        match self {
            Self::GrpcRoute => 0,
            Self::HttpRoute => 1,
            Self::TlsRoute => 2,
            _ => 3,
        }
    }
}
