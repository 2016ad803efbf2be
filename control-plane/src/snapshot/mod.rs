//! Everything the mesh runs at one moment, encoded once for all proxies.
//!
//! A [`Snapshot`] never changes. Streams compare what they have sent with the newest one, so a proxy that
//! falls behind skips what it missed instead of queueing it. Versions are content hashes: any replica, and
//! this one after a restart, gives the same version to the same content.

mod debounce;
mod for_old;
mod present;
mod build;

pub use build::{Configured, Registered, build, endpoints_of};
pub use debounce::Debounce;
pub use for_old::{ForOld, Understands, asks_for_claims, closes, closes_gateway};
pub use present::{Present, present};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use usher_config::{model::Revision, value::SpiffeId};

/// One resource as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The first 128 bits of the body's sha256, hex: enough that no two bodies ever meet in a mesh.
    pub version: Arc<str>,
    /// The encoded message.
    pub body: Bytes,
}

impl Resource {
    /// Encodes a message and names its version.
    pub fn encode(message: &impl Message) -> Self {
        let body = Bytes::from(message.encode_to_vec());
        let mut version = String::with_capacity(32);
        for byte in Sha256::digest(&body).iter().take(16) {
            let _ = write!(version, "{byte:02x}");
        }
        Self {
            version: version.into(),
            body,
        }
    }
}

/// The endpoints of one service, by `namespace/service/instance`.
pub type EndpointSet = BTreeMap<String, Resource>;

/// The whole mesh.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows with every change of anything. A snapshot of generation `n` contains all changes up to `n`.
    pub generation: u64,
    /// Services and inbound policies, as last configured.
    pub configured: Arc<Configured>,
    /// By `namespace/service`. Every known service has an entry, be it empty.
    pub endpoints: BTreeMap<Arc<str>, Arc<EndpointSet>>,
    /// Where each service's instances are, as `endpoints`.
    pub addresses: BTreeMap<Arc<str>, Arc<BTreeSet<IpAddr>>>,
    /// The same, turned around; made when somebody asks, and kept as long as nobody has another address.
    pub by_address: Arc<OnceLock<BTreeMap<IpAddr, Vec<Arc<str>>>>>,
    /// By trust domain, at most one. `None` only while the control plane starts.
    pub trust_bundle: Option<(Arc<str>, Resource)>,
    /// This control plane has just started and may not know all instances yet: what a proxy brings along and we do
    /// not know is not taken from it.
    pub settling: bool,
    /// Endpoints that were taken out on purpose while settling, `namespace/service/instance`.
    pub withdrawn: BTreeSet<String>,
}

impl Snapshot {
    /// The configuration's number and digest.
    pub fn revision(&self) -> &Revision {
        &self.configured.revision
    }

    /// The services, `namespace/name`, that a packet to `address` may be meant for: the one whose virtual address it
    /// is, else those with an instance there. Loopback is nobody's: it is another place on every machine.
    pub fn services_at(&self, address: IpAddr) -> &[Arc<str>] {
        if let Some(services) = self.configured.virtual_addresses.get(&address) {
            return services;
        }
        if address.is_loopback() {
            return &[];
        }
        let by_address = self.by_address.get_or_init(|| {
            let mut by_address: BTreeMap<IpAddr, Vec<Arc<str>>> = BTreeMap::new();
            for (service, addresses) in &self.addresses {
                for address in addresses.iter() {
                    let services = by_address.entry(*address).or_default();
                    services.push(service.clone());
                }
            }
            by_address
        });
        by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Whether configuration lets `identity` answer as the service named `namespace/name`.
    pub fn may_be(&self, identity: &SpiffeId, service: &str) -> bool {
        let identities = self.configured.identities.get(service);
        identities.is_some_and(|identities| identities.contains(identity))
    }
}

#[cfg(test)]
mod tests;
