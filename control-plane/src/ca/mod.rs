//! Proof → SVID: who may have an identity, and the signature that gives it.
//!
//! A proof is a join token (an operator's permission, [`token`]), a Kubernetes [service account's](service_account) or an unexpired
//! SVID. [`attest`] checks it,
//! [`svid`] reads the key out of the request and nothing else, [`authority`] signs, [`issued`] remembers. The mesh's [`roots`]
//! have phases; control planes share them through a [`trust`] store, and a [`steward`] keeps each one's [intermediate](issuer)
//! fresh. Specifications: SPIFFE X.509-SVID, RFC 5280.

pub mod roots;
pub mod trust;
mod certificate;
mod directory;
pub mod issuer;
pub mod authority;
pub mod steward;
pub mod svid;
pub mod token;
pub mod service_account;
pub mod attest;
mod limits;
pub mod issued;
mod peer;

pub use authority::Authority;
pub use issued::Grounds;
pub use peer::Peer;

#[cfg(test)]
mod tests;
