//! Who opens a stream or calls the registry: the identity that the TLS listener verified, and nothing else.

use std::{net::IpAddr, sync::Arc};

use tonic::{Extensions, Status};
use usher_config::value::SpiffeId;

use crate::ca::Peer;

/// The verified identity of a request's sender.
///
/// # Errors
/// `UNAUTHENTICATED`: no client certificate was shown, or the request did not come through the mesh listener.
pub fn authenticate(extensions: &Extensions) -> Result<SpiffeId, Status> {
    match extensions.get::<Peer>() {
        Some(Peer {
            identity: Some(identity),
            ..
        }) => Ok(identity.clone()),
        Some(Peer { identity: None, .. }) | None => Err(Status::unauthenticated(
            "this call needs mutual TLS with an SVID of this mesh; attest first",
        )),
    }
}

/// The root to which the certificate of a request's connection leads, by its pin.
pub fn under_root(extensions: &Extensions) -> Option<Arc<str>> {
    extensions.get::<Peer>()?.root.clone()
}

/// The address from which a request's connection came.
pub fn came_from(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>()?.address
}
