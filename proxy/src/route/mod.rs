//! Stage 4: request → route. Pure.
//!
//! [`authority`] says which service is meant, [`path`] what is asked of it (one normal form for routing,
//! access and upstream), [`Table`] which route takes the request. Tables are compiled when a snapshot is
//! applied; a lookup allocates nothing.

pub mod authority;
pub mod filter;
mod hosts;
mod query;
mod table;

pub use usher_config::value::path;

pub use hosts::Hosts;
pub use table::{Request, Table, headers_match, pick_backend, pick_backend_at};
