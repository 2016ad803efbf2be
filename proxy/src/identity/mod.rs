//! Our own SVID: a key made here that never leaves, a certificate for it, and its renewal in time.
//!
//! The first certificate is bought with a token, which is sent after the control plane has proved to be the one that it is
//! for; every further one with the certificate before it. Key and SVID are kept (0600), so a restart needs no
//! token and no control plane.

mod attest;
mod join_token;
mod keeper;
mod rotation;
mod svid;
mod token;

pub use attest::{AttestError, attest, renew};
pub use join_token::{InvalidJoinToken, JoinToken};
pub use keeper::Keeper;
pub use rotation::{
    Last, OldRoot, Proof, RENEW_AT, RENEW_AT_JITTER, due, due_under_old_root, is_short, proof,
};
pub use svid::{Svid, SvidError};
pub use token::Token;

#[cfg(test)]
mod tests;
