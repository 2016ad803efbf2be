//! One instance of a service.

use std::net::SocketAddr;

use crate::value::{InstanceName, Port, Weight};

/// Where one instance can be reached, and whether it wants to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `namespace/service/instance`.
    pub name: InstanceName,
    /// Its sidecar's inbound listener; the application itself where `meshed` is false, or its port has a TLS of its own.
    pub address: SocketAddr,
    /// Proven to be where it is: who dials the address, and not the service, means this instance. An address that was
    /// only claimed (`--advertise`) leads callers of the service to it, and nobody else.
    pub address_is_own: bool,
    /// Never spoken to in plaintext: over the mesh's mutual TLS, or the one that its port asks for. A proxy from before ports
    /// asked for any opens the mesh's, expects nobody, and sends nothing.
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
