//! What Usher promises its users, one module per promise, on real binaries over real sockets.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests: a panic is their way to fail"
)]

#[path = "../../control-plane/tests/api_server/mod.rs"]
#[allow(dead_code, reason = "the control plane's own tests do more with it")]
mod api_server;
mod access;
mod authentication;
mod authority;
mod backend_tls;
mod backup;
mod bad_update;
mod balancing;
mod bank;
mod breaker_fallback;
mod conditions;
mod callers;
mod chaos;
mod cluster;
mod control_plane_outage;
mod crash;
mod drain;
mod drills;
mod faults;
mod filters;
mod gateway;
mod grpc;
mod grpc_streams;
mod guarded;
mod history;
mod hostile;
mod http;
mod interception;
mod interim;
mod kept;
mod kills;
mod kubernetes;
mod mtls;
mod names;
mod pods;
mod protocols;
mod replicas;
mod registry;
mod rate_limits;
mod retries;
mod routes;
mod scale;
mod service_accounts;
mod run;
mod stream_routes;
mod streaming;
mod tcp;
mod telemetry;
mod timeouts;
mod told;
mod upgrades;
mod validate;

use anyhow::Result;
use usher_tests::{Application, Mesh, Sidecar, yaml};

/// An `api` service (HTTP, port 8080) in front of the application, and a `web` sidecar to call it through.
async fn pair(application: &Application, documents: &[String]) -> Result<(Mesh, Sidecar, Sidecar)> {
    let mut all = vec![yaml::service("api", 8080, "http")];
    all.extend_from_slice(documents);
    let mesh = Mesh::start(&all).await?;
    let api = mesh.sidecar("api").application(application).start().await?;
    let web = mesh.sidecar("web").start().await?;
    Ok((mesh, api, web))
}
