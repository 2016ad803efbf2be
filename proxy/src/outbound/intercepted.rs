//! Connections that the kernel handed over: the application knows nothing of us, so their destination says where to.
//!
//! It is a service's virtual address, or an endpoint's, which then is the only one to be used; or nobody of the mesh,
//! and then `Mesh.spec.outboundTraffic` decides. Nothing that the bytes say leads anywhere else: a `Host` only chooses
//! among services that share the destination.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use tokio::net::TcpStream;
use tracing::{debug, warn};
use usher_config::model::{OutboundTraffic, Protocol, ServiceTarget};

use crate::{
    clock,
    detect::{parser::Detected, reader},
    error::ProxyError,
    http::watched::Observer as _,
    tcp::{Stream, copy},
    telemetry::metrics::Direction,
    upstream::connect,
    worker::{Record, Worker},
};

use super::{
    discover::{self, Found},
    opaque::{self, Destination},
    serve_http1, serve_http2,
};

/// For the first bytes to a port that declares nothing: after it, the other end is taken to speak first. A port on
/// which it does should say so (`appProtocol: tcp`) and waits for nothing.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(1);

/// For a connection to whoever is not of the mesh. Longer than the mesh's own: they may be far.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What is not of the mesh has no policy; pools of connections to databases rest for long. A peer that is gone is
/// found out by TCP's keepalive in seconds.
const IDLE_MAX: Option<Duration> = Some(Duration::from_secs(3600));

/// Serves a connection from our application to `destination` until it ends.
pub async fn serve_intercepted(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr) {
    match discover::at(&worker, destination, None).await {
        Ok(Some(found)) if found.protocol == Protocol::Tcp => {
            let target = target(&found);
            Box::pin(opaque::carry_bytes(
                worker,
                Stream::Plain(stream),
                &target,
                None,
            ))
            .await;
        }
        Ok(Some(found)) => Box::pin(talk(worker, stream, destination, found)).await,
        Ok(None) if passes(&worker) => Box::pin(pass_through(worker, stream, destination)).await,
        Ok(None) => {
            let error = ProxyError::NoSuchDestination { destination };
            Box::pin(refuse(worker, stream, destination, error)).await;
        }
        Err(error) => Box::pin(refuse(worker, stream, destination, error)).await,
    }
}

/// Before there is a configuration nobody knows what may pass.
fn passes(worker: &Worker) -> bool {
    let snapshot = worker.snapshot();
    snapshot
        .inbound()
        .is_some_and(|policy| policy.outbound == OutboundTraffic::PassThrough)
}

fn target(found: &Found) -> Destination {
    let endpoint = found
        .only
        .and_then(|position| found.service.endpoints.get(position));
    Destination {
        target: ServiceTarget {
            service: found.service.model.name.clone(),
            port: found.port,
        },
        only: endpoint.map(|endpoint| endpoint.model.address),
    }
}

/// To a port that speaks HTTP, or has not said what it speaks.
async fn talk(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr, found: Found) {
    let declared = found.protocol != Protocol::Detect;
    let limit = if declared {
        super::FIRST_BYTES_MAX
    } else {
        FIRST_BYTES_MAX
    };
    let Ok(detected) = reader::look(&stream, limit).await else {
        return;
    };
    worker.handles.detected.add(worker.index, detected.as_str());
    match detected {
        Detected::Http1 => {
            serve_http1(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Detected::Http2Preface => {
            serve_http2(worker, Stream::Plain(stream), Some(destination)).await;
        }
        // Nearly HTTP is refused with a reason, by the strict reader.
        Detected::Unknown if declared => {
            serve_http1(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Detected::Tls | Detected::NeedMore if declared => {
            if worker.warnings.opaque.is_due(clock::now()) {
                warn!(
                    service = %found.service.label,
                    port = %found.port,
                    detected = detected.as_str(),
                    "closed a connection of the application that speaks no plain HTTP to a port that declares it: declare appProtocol tcp, or leave TLS to the sidecar"
                );
            }
        }
        Detected::Tls | Detected::Unknown | Detected::NeedMore => {
            let target = target(&found);
            opaque::carry_bytes(worker, Stream::Plain(stream), &target, None).await;
        }
    }
}

/// HTTP is told why; other bytes cannot be.
async fn refuse(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr, error: ProxyError) {
    debug!(%error, "intercepted connection refused");
    match reader::look(&stream, FIRST_BYTES_MAX).await {
        Ok(Detected::Http1) => {
            serve_http1(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Ok(Detected::Http2Preface) => {
            serve_http2(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Ok(Detected::Tls | Detected::Unknown | Detected::NeedMore) | Err(_) => {
            let mut record = Record::begin(&worker, Direction::Outbound, Method::CONNECT, "tcp");
            record.requests = Some(worker.handles.unrouted.clone());
            record.end(0, Err(&error));
            reset(&stream);
        }
    }
}

/// Carries bytes as they are to whoever is not of the mesh.
async fn pass_through(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr) {
    let mut record = Record::begin(&worker, Direction::Outbound, Method::CONNECT, "tcp");
    record.requests = Some(worker.handles.passed_through.clone());
    record.attempt(destination, clock::now());
    let upstream = match connect::plain(destination, CONNECT_MAX).await {
        Ok(upstream) => upstream,
        Err(error) => {
            debug!(%error, "nobody there to pass a connection through to");
            record.end(0, Err(&error));
            reset(&stream);
            return;
        }
    };
    let _open = worker.endpoint_connection();
    record.head(StatusCode::OK, &HeaderMap::new());
    let (mut downstream, mut upstream) = (Stream::Plain(stream), Stream::Plain(upstream));
    let (copied, result) = copy(&mut downstream, &mut upstream, IDLE_MAX).await;
    let bytes = &worker.handles.passed_bytes;
    bytes.add_many(worker.index, "up", copied.from_downstream);
    bytes.add_many(worker.index, "down", copied.from_upstream);
    record.request_bytes = copied.from_downstream;
    let ended = result.map_err(|end| connect::broke_off(&end, destination, IDLE_MAX));
    record.end(copied.from_upstream, ended.as_ref().copied());
}

/// The application's connection came about before we knew that its destination's would not: a reset is the closest
/// to the refusal that it would have seen without us.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
