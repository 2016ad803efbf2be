//! Proof → SVID: who may have an identity, and the signature that gives it.

mod peer;

pub use peer::PeerIdentity;
