//! The native protocol's client: what this sidecar knows of the mesh, kept fresh.
//!
//! The request path sees only [`Discovery`]: it asks for a service it has never heard of and waits at most one
//! second. Everything else arrives by itself in the snapshot: [`subscription`] decides (no I/O), [`stream`]
//! carries, [`last_known_good`] remembers for a restart without a control plane.

mod contact;
mod discovery;
mod interest;
mod known;
pub mod last_known_good;
mod pause;
mod saving;
pub mod stream;
pub mod subscription;

pub use discovery::{
    DISCOVERY_TIMEOUT, Discovery, Question, Resolution, Sought, WAITERS_MAX, discovery,
};
