//! One instance of a service.

use std::net::SocketAddr;

use crate::value::{InstanceName, Port, Weight};

/// Where one instance can be reached, and whether it wants to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `namespace/service/instance`.
    pub name: InstanceName,
    /// Its sidecar's inbound listener, or the application itself where `meshed` is false.
    pub address: SocketAddr,
    /// Proven to be where it is: who dials the address, and not the service, means this instance. An address that was
    /// only claimed (`--advertise`) leads callers of the service to it, and nobody else.
    pub address_is_own: bool,
    /// Spoken to over mutual TLS.
    pub meshed: bool,
    /// Its share among its siblings.
    pub weight: Weight,
    /// Where it runs; empty when nobody said.
    pub zone: String,
    /// Its own sidecar's verdict on its application. Unhealthy ones get no requests.
    pub healthy: bool,
    /// The service's ports it serves; empty means all.
    pub ports: Vec<Port>,
}
