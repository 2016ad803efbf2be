//! Roots, and the mark that closes a consistent configuration.

use crate::value::TrustDomain;

/// The roots that sign this mesh's identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// Whose roots.
    pub trust_domain: TrustDomain,
    /// Grows with every change.
    pub version: u64,
    /// DER certificates, at least one; the first is the one that signs, whoever is under another takes a new identity.
    pub roots: Vec<Vec<u8>>,
}

/// A numbered configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Grows by one with each accepted change of configuration (never with endpoints).
    pub number: u64,
    /// sha256 of the accepted configuration, hex.
    pub digest: String,
}
