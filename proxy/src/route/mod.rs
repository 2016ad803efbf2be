//! Stage 4: request or connection → route. Pure.
//!
//! [`authority`] says which service is meant, [`path`] what is asked of it (one normal form for routing,
//! access and upstream), [`Table`] which route takes the request, [`Streams`] which takes a connection. Tables are compiled when a snapshot is
//! applied; a lookup allocates nothing.

pub mod authority;
pub mod filter;
mod hosts;
mod query;
mod streams;
mod table;

pub use usher_config::value::path;

pub use hosts::Hosts;
pub use streams::{Governed, Streams};
pub use table::{Request, Table, headers_match, pick_backend, pick_backend_at};
