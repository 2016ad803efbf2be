//! Request or connection → route: stage 4 of a proxy.
//!
//! [`authority`] says which service is meant, [`path`] what is asked of it (one normal form for routing,
//! access and upstream), [`Table`] which route takes the request, [`Streams`] which takes a connection. Tables are compiled when a snapshot is
//! applied; a lookup allocates nothing.

pub mod authority;
mod by_host;
pub mod filter;
mod followed;
mod hosts;
mod query;
mod shadow;
mod streams;
mod table;
mod why;

pub use crate::value::path;

pub use by_host::ByHost;
pub use followed::followed;
pub use hosts::Hosts;
pub use shadow::{covers, shadowed};
pub use streams::{Governed, Streams};
pub use table::{Request, Table, headers_match, pick_backend, pick_backend_at};
pub use why::{Mismatch, mismatch};
