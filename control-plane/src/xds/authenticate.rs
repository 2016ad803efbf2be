//! Who opens a stream or calls the registry: the identity that the TLS listener verified, and nothing else.

use tonic::{Extensions, Status};
use usher_config::value::SpiffeId;

use crate::ca::PeerIdentity;

/// The verified identity of a request's sender.
///
/// # Errors
/// `UNAUTHENTICATED`: no client certificate was shown, or the request did not come through the mesh listener.
pub fn authenticate(extensions: &Extensions) -> Result<SpiffeId, Status> {
    match extensions.get::<PeerIdentity>() {
        Some(PeerIdentity(Some(identity))) => Ok(identity.clone()),
        Some(PeerIdentity(None)) | None => Err(Status::unauthenticated(
            "this call needs mutual TLS with an SVID of this mesh; attest first",
        )),
    }
}
