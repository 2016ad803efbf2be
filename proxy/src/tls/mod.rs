//! Mesh TLS: who is at the other end, proved by certificates that this mesh signed. [`edge`] and [`origin`] are the TLS of the
//! outside world, towards callers and towards services.
//!
//! TLS 1.3 only, one provider (aws-lc-rs) passed explicitly, X25519MLKEM768 before X25519. A peer is its
//! SPIFFE ID: chains end in the trust bundle's roots and a leaf names exactly one URI; host names mean
//! nothing. Resumed sessions skip the certificate verifier, so the identity is checked once more after every
//! handshake, and a new bundle or SVID makes new configurations with empty session stores.

pub mod edge;
mod handshake;
mod hello;
mod known;
mod leaf;
mod material;
pub mod origin;
pub mod shown;
mod verifier;

pub use handshake::{
    Accepted, CONTROL_HANDSHAKE_TIMEOUT, Connected, Greeted, HANDSHAKE_TIMEOUT, PeerIdentity,
    TlsError, accept, connect,
};
pub use leaf::{Leaf, PeerRefused, spki_sha256};
pub use material::{Alpn, Material, MaterialError, pinned_client};

#[cfg(test)]
pub(crate) mod tests;
