//! What the control plane knows: accepted objects with their last good versions ([`World`]), instances with
//! leases ([`instances`]), and the [`Store`] that remembers the former across restarts.

pub mod store;
mod embedded;
pub mod history;
mod memory;
pub mod shared;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod instances;
pub mod places;
pub mod callers;
mod accepted;
pub mod world;
pub(crate) mod complaints;
mod beside;
mod denied;
mod doubt;
mod opening;
mod remarks;
mod virtual_address;
mod service;
pub mod rest;
mod watching;

pub use beside::beside;
pub use denied::{Denied, is_unread};
pub use embedded::{EmbeddedStore, Tables, object_key};
pub use memory::MemoryStore;
pub use remarks::Remarks;
pub use service::RegistryService;
pub use store::{Store, StoreError};
pub use world::World;

#[cfg(test)]
mod tests;
