//! What the model means for one request: which route takes it and where it goes, what filters do to it, whether it may.
//!
//! Pure: requests and chance are arguments. Sidecars and gateways decide by this on every request, and `usher route test`
//! and `usher authz check` by the same, offline: what they say cannot differ from what is done.

pub mod access;
pub mod random;
pub mod route;
