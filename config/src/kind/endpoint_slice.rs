//! `EndpointSlice` (discovery.k8s.io/v1): where a Service without a selector is, written by hand.
//!
//! What answers there has no sidecar: it is called in plaintext, or with the TLS that a BackendTLSPolicy asks for.

use std::net::IpAddr;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, Port};

use super::{Resource, Transport, choice::choice};

/// The label that says whose addresses they are.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Addresses of the Service that the label `kubernetes.io/service-name` names, in the same namespace. Several slices may
/// name one Service. Only of Services without a selector: instances of others register themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct EndpointSliceSpec {
    /// Of all addresses in it. Names (FQDN) have no place here: who asks for one gets other answers everywhere.
    pub address_type: AddressType,
    /// Up to 1000.
    pub endpoints: Vec<SliceEndpoint>,
    /// What each endpoint serves, 1 to 100. Ports belong to the Service's of the same name.
    pub ports: Vec<SlicePort>,
}

impl Resource<EndpointSliceSpec> {
    /// Whose addresses its label says they are, be it a name or not.
    pub fn service(&self) -> Option<&str> {
        let label = self.metadata.labels.get(SERVICE_NAME_LABEL);
        label.map(String::as_str)
    }
}

choice! {
    /// What addresses are.
    pub enum AddressType {
        /// Of version 4.
        Ipv4 = "IPv4",
        /// Of version 6.
        Ipv6 = "IPv6",
    }
}

/// One place that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SliceEndpoint {
    /// 1 to 100, all as good as each other: each gets a share. Loopback is another place for each caller.
    pub addresses: Vec<IpAddr>,
    /// Whether it wants requests.
    #[serde(default)]
    pub conditions: SliceConditions,
    /// Where it runs, for callers that prefer their own zone.
    pub zone: Option<String>,
}

/// Whether an endpoint wants requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SliceConditions {
    /// It does. Default true.
    pub ready: Option<bool>,
    /// It could. Not looked at: who is not ready gets none.
    pub serving: Option<bool>,
    /// It is about to leave. Not looked at: who leaves is not ready.
    pub terminating: Option<bool>,
}

/// One port of all endpoints of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SlicePort {
    /// The Service's port of this name. Left out for its only one without a name.
    pub name: Option<Name>,
    /// Where the endpoints listen.
    pub port: Port,
    /// The transport; TCP is the only one carried.
    #[cfg_attr(test, schemars(with = "Option<Transport>"))]
    pub protocol: Transport,
}
