//! Who is calling, as the handshake proved it; the only thing the services on 15012 authorise by.

use std::{net::IpAddr, sync::Arc};

use usher_config::value::SpiffeId;

/// A connection's client, in every gRPC request's extensions.
///
/// Put there by the TLS listener after chain, validity and trust domain were verified, once per connection
/// and therefore also after a resumed handshake. A request without this extension did not come through the listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// Verified. `None`: the client showed no certificate, which only `Authority.Attest` accepts.
    pub identity: Option<SpiffeId>,
    /// From where it came; `None`: it is gone.
    pub address: Option<IpAddr>,
    /// To which root of the mesh its certificate leads, by its pin.
    pub root: Option<Arc<str>>,
}

impl From<SpiffeId> for Peer {
    /// From nowhere in particular.
    fn from(identity: SpiffeId) -> Self {
        Self {
            identity: Some(identity),
            address: None,
            root: None,
        }
    }
}
