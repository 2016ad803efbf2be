//! Our own SVID: a key made here that never leaves, a certificate for it, and its renewal in time.
//!
//! The first certificate is bought with a join token, whose pin proves the control plane before the secret is
//! sent; every further one with the certificate before it. Key and SVID are kept (0600), so a restart needs no
//! token and no control plane.

mod attest;
mod join_token;
mod keeper;
mod rotation;
mod svid;

pub use attest::{AttestError, attest, renew};
pub use join_token::{InvalidJoinToken, JoinToken};
pub use keeper::Keeper;
pub use rotation::{
    Last, OldRoot, Proof, RENEW_AT, RENEW_AT_JITTER, due, due_under_old_root, is_short, proof,
};
pub use svid::{Svid, SvidError};

#[cfg(test)]
mod tests;
