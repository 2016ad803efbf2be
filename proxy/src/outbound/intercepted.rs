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
    detect::{
        parser::Detected,
        reader::{self, First},
    },
    error::ProxyError,
    http::watched::Observer as _,
    tcp::{Stream, copy},
    telemetry::metrics::Direction,
    upstream::connect,
    worker::{Record, Worker},
};

use super::{
    discover::{self, At, Found},
    opaque, serve_http1, serve_http2,
    streams::{self, Destination},
};

/// For the first bytes to a port that declares nothing: after it, bytes are carried whoever speaks.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(1);

/// For a connection to whoever is not of the mesh. Longer than the mesh's own: they may be far.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What is not of the mesh has no policy and passes as it is: sessions and subscriptions may rest for days. A peer that is
/// gone is found out by TCP's keepalive in seconds.
const IDLE_MAX: Option<Duration> = None;

/// Serves a connection from our application to `destination` until it ends.
pub async fn serve_intercepted(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr) {
    match discover::at(&worker, destination, None).await {
        Ok(At::Found(found)) if found.protocol == Protocol::Tcp => {
            let destination = target(&found);
            Box::pin(streams::serve(worker, stream, found.service, destination)).await;
        }
        Ok(At::Found(found)) if found.protocol == Protocol::Detect => {
            Box::pin(listen(worker, stream, destination, found)).await;
        }
        Ok(At::Found(found)) => Box::pin(talk(worker, stream, destination, found)).await,
        Ok(nobody) => match refusal(&worker, &nobody, destination) {
            None => Box::pin(pass_through(worker, stream, destination)).await,
            Some(error) => Box::pin(refuse(worker, stream, destination, error)).await,
        },
        Err(error) => Box::pin(refuse(worker, stream, destination, error)).await,
    }
}

/// Why a connection may not pass as it is. Whom nobody could be asked about may be a service, to which the application's
/// words must not go in plaintext; and before there is a configuration nobody knows what may pass.
fn refusal(worker: &Worker, at: &At, destination: SocketAddr) -> Option<ProxyError> {
    let snapshot = worker.snapshot();
    match (at, snapshot.inbound().map(|policy| policy.outbound)) {
        (_, Some(OutboundTraffic::PassThroughUnknown))
        | (At::Nobody, Some(OutboundTraffic::PassThrough)) => None,
        (At::Unanswered, _) => Some(discover::timed_out(destination)),
        (At::Found(_) | At::Nobody, _) => Some(ProxyError::NoSuchDestination { destination }),
    }
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

/// To a port that declares HTTP.
async fn talk(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr, found: Found) {
    let Ok(detected) = reader::look(&stream, super::FIRST_BYTES_MAX).await else {
        return;
    };
    worker.handles.detected.add(worker.index, detected.as_str());
    match detected {
        Detected::Http2Preface => {
            serve_http2(worker, Stream::Plain(stream), Some(destination)).await;
        }
        // Nearly HTTP is refused with a reason, by the strict reader; who connects ahead of a request may take its time.
        Detected::Http1 | Detected::Unknown | Detected::NeedMore => {
            serve_http1(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Detected::Tls => {
            reset(&stream);
            if worker.warnings.opaque.is_due(clock::now()) {
                warn!(
                    service = %found.service.label,
                    port = %found.port,
                    "closed a connection of the application that speaks TLS to a port that declares plain HTTP: declare appProtocol tls, or leave TLS to the sidecar"
                );
            }
        }
    }
}

/// To a port that has not said what it speaks: whoever speaks first does.
async fn listen(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr, found: Found) {
    let Some(way) = streams::way(&worker, &found.service, target(&found)) else {
        return Box::pin(listen_for_name(worker, stream, destination, found)).await;
    };
    let mut ahead = None;
    let speaks_first = Box::pin(opaque::speaks_first(&worker, &way, &mut ahead));
    let Ok(first) = reader::look_unless(&stream, FIRST_BYTES_MAX, speaks_first).await else {
        return;
    };
    let outcome = match &first {
        First::Caller(detected) => detected.as_str(),
        First::Called(()) => "server_first",
    };
    worker.handles.detected.add(worker.index, outcome);
    match (first, ahead) {
        (First::Caller(detected @ (Detected::Http1 | Detected::Http2Preface)), ahead) => {
            drop(ahead);
            let stream = Stream::Plain(stream);
            if detected == Detected::Http1 {
                serve_http1(worker, stream, Some(destination)).await;
            } else {
                serve_http2(worker, stream, Some(destination)).await;
            }
        }
        (First::Caller(_) | First::Called(()), Some(ahead)) => {
            ahead.carry(&worker, Stream::Plain(stream)).await;
        }
        (First::Caller(_) | First::Called(()), None) => {
            opaque::carry_bytes(worker, Stream::Plain(stream), &way).await;
        }
    }
}

/// To such a port with routes by name: nobody can be connected to before the caller has said for whom it is.
async fn listen_for_name(
    worker: Rc<Worker>,
    stream: TcpStream,
    destination: SocketAddr,
    found: Found,
) {
    let Ok(detected) = reader::look(&stream, super::FIRST_BYTES_MAX).await else {
        return;
    };
    match detected {
        Detected::Http1 => {
            worker.handles.detected.add(worker.index, detected.as_str());
            serve_http1(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Detected::Http2Preface => {
            worker.handles.detected.add(worker.index, detected.as_str());
            serve_http2(worker, Stream::Plain(stream), Some(destination)).await;
        }
        Detected::Tls | Detected::Unknown | Detected::NeedMore => {
            let meant = (&found.service, found.port);
            streams::by_name(worker, (stream, detected), meant).await;
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
    let (copied, result) = copy(&mut downstream, &mut upstream, IDLE_MAX, &worker.scratch).await;
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
