//! Who is calling, as the handshake proved it; the only thing the services on 15012 authorise by.

use usher_config::value::SpiffeId;

/// The verified identity of a connection's client, in every gRPC request's extensions.
///
/// Put there by the TLS listener after chain, validity and trust domain were verified, once per connection
/// and therefore also after a resumed handshake. `None`: the client showed no certificate, which only
/// `Authority.Attest` accepts. A request without this extension did not come through the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity(pub Option<SpiffeId>);
