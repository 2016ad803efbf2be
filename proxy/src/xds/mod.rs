//! The native protocol's client: what this sidecar knows of the mesh, kept fresh.
//!
//! The request path sees only [`Discovery`]: it asks for a service it has never heard of and waits at most one
//! second. Everything else arrives by itself in the snapshot.

mod discovery;

pub use discovery::{DISCOVERY_TIMEOUT, Discovery, Question, Resolution, WAITERS_MAX, discovery};
