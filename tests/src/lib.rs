//! A fluent harness over real binaries and real sockets: what a test says is what a user would do.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use usher_tests::{Application, Mesh};
//! let mesh = Mesh::start(&[usher_tests::yaml::service("api", 8080, "http")]).await?;
//! let api = Application::echo().await?;
//! let _api = mesh.sidecar("api").application(&api).start().await?;
//! let web = mesh.sidecar("web").start().await?;
//! let answer = web.get("http://api/hello").await?;
//! assert_eq!(answer.status, 200);
//! # Ok(()) }
//! ```
//!
//! Everything binds port 0 on loopback, lives in a temporary folder, and is stopped by process id when dropped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_errors_doc,
    clippy::indexing_slicing,
    reason = "a test harness: a panic is its way to fail, and stderr its way to say why"
)]

mod application;
mod binaries;
mod client;
mod etcd;
mod gateway;
mod mesh;
mod network;
pub mod node;
mod process;
pub mod raw;
mod sidecar;
mod skip;
mod wait;
mod way;
mod wiretap;
pub mod yaml;

pub use application::{Application, Received, Reply, reply, reply_after};
pub use binaries::binary;
pub use client::{Answer, Client};
pub use etcd::Etcd;
pub use gateway::Gateway;
pub use mesh::Mesh;
pub use network::{Host, Network};
pub use node::Node;
pub use process::{Output, Process, run};
pub use sidecar::{Sidecar, SidecarBuilder};
pub use skip::skip;
pub use wait::{eventually, eventually_for};
pub use way::{Link, Way};
pub use wiretap::{Segment, Wiretap};
