//! The control plane of an Usher mesh, and its command line.
//!
//! Desired state flows one way: `source → registry → compile → snapshot → xds`. Beside that path stand
//! the certificate authority ([`ca`]), the port sidecars come to ([`listener`]), what operators read and ask
//! for ([`admin`]), and [`server`], which starts all of it in order. [`cli`] has one file per verb; the `usher`
//! binary and the `bank` launcher's multi-call both enter by [`main_with`].

pub mod status;
pub mod state;
pub mod source;
pub mod registry;
pub mod compile;
pub mod whatif;
pub mod inject;
pub mod keys;
pub mod snapshot;
pub mod xds;
pub mod shares;
pub mod watch;
pub mod clock;
pub mod ca;
pub mod listener;
#[cfg(feature = "kubernetes")]
pub mod webhook;
pub mod dns;
pub mod server;
pub mod admin;
pub mod backup;
pub mod telemetry;
pub mod addresses;
pub mod private_files;
pub mod database;
pub mod cli;

pub use cli::main_with;
