//! The doors that speak HTTP: each served until the server stops.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};
use tonic::{service::Routes, transport::Server as Grpc};
use tracing::warn;
use usher_config::wire::{
    discovery::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
    v1::{authority_server::AuthorityServer, registry_server::RegistryServer},
};

use crate::{
    ca::attest::{self, AuthorityService},
    listener::Listener,
    registry::{RegistryService, rest},
    xds::AdsService,
};

/// A connection is replaced gracefully well within the life of the SVID that opened it: renewed at half of 24 h,
/// one is never younger than 11 h from its end when used.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(10 * 3600);

/// How often a silent sidecar is asked whether it is still there; a dead one is noticed within twice that.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Streams of one sidecar at once: it needs one for configuration, and a call now and then.
const STREAMS_MAX: u32 = 32;

/// Largest header block of a call, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone: the server is, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Each request knows the address that it came from.
pub(super) async fn serve_http(
    listener: TcpListener,
    router: axum::Router,
    stopping: watch::Receiver<bool>,
) {
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped(stopping));
    ended(served.await);
}

pub(super) async fn serve_operator(
    listener: UnixListener,
    router: axum::Router,
    stopping: watch::Receiver<bool>,
) {
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped(stopping));
    ended(served.await);
}

fn ended(served: io::Result<()>) {
    if let Err(error) = served {
        warn!(%error, "http interface ended");
    }
}

pub(super) async fn serve_sidecars(
    listener: Listener,
    (authority, registry, discovery): (AuthorityService, RegistryService, AdsService),
    stopping: watch::Receiver<bool>,
) {
    let authority =
        AuthorityServer::new(authority).max_decoding_message_size(attest::REQUEST_BYTES_MAX);
    // The same registry as JSON, for programs without gRPC.
    let routes = Routes::from(rest::routes(registry.clone()))
        .add_service(authority)
        .add_service(RegistryServer::new(registry))
        .add_service(AggregatedDiscoveryServiceServer::new(discovery));
    let served = Grpc::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_connection_age(CONNECTION_AGE_MAX)
        .add_routes(routes)
        .serve_with_incoming_shutdown(listener.connections(), stopped(stopping))
        .await;
    if let Err(error) = served {
        warn!(%error, "sidecar interface ended");
    }
}
