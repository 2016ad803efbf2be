//! Story: mesh → application, one call per stage.
//!
//! The caller's identity comes from its certificate and from nowhere else; what it says about itself in
//! headers is replaced. [`request`] is the life of a request; read it from top to bottom.

mod caller;
mod opaque;

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body as _;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;
use usher_config::{
    model::{Protocol, Timeouts},
    value::Port,
};

use crate::{
    clock,
    detect::{parser::Detected, reader},
    error::{Processing, ProxyError},
    http::{Body, Replay, error_response::Dialect, finish, head, headers, serve, watched::Bounds},
    policy::{
        access::{self, Access, HttpAccess},
        retry::{ATTEMPT, is_grpc, is_idempotent},
        timeout::{self as deadline, DEADLINE, Deadline},
    },
    pool::Key,
    snapshot::{APPLICATION, InboundEntry},
    tcp::Stream,
    telemetry::{
        metrics::Direction,
        trace_context::{self, TraceContext, ensure_request_id},
    },
    tls::{self, Alpn},
    upstream::dial::{Application, Version, with_application},
    worker::{Phase, Record, Worker},
};

use caller::Caller;

/// For a caller's first bytes. Sidecars speak first; a plaintext caller that waits for the application to
/// speak is served as opaque after this time.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(1);

/// To our own application: it is on this machine and answers at once or not at all.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr) {
    let Ok(detected) = reader::look(&stream, FIRST_BYTES_MAX).await else {
        return;
    };
    worker.handles.detected.add(worker.index, detected.as_str());
    if detected == Detected::Tls {
        return serve_mesh(worker, stream, address).await;
    }
    let caller = Caller::plaintext(&worker, address);
    match detected {
        Detected::Http1 => serve_http1(worker, Stream::Plain(stream), caller).await,
        Detected::Http2Preface => serve_http2(worker, Stream::Plain(stream), caller).await,
        Detected::Tls | Detected::Unknown | Detected::NeedMore => {
            opaque::serve(worker, Stream::Plain(stream), &caller).await;
        }
    }
}

async fn serve_mesh(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr) {
    let material = worker.shared.material.load_full();
    let accepted = match tls::accept(stream, &material).await {
        Ok(accepted) => accepted,
        Err(error) => {
            worker
                .handles
                .handshakes_inbound
                .add(worker.index, error.outcome());
            debug!(%error, %address, "caller's handshake failed");
            return;
        }
    };
    worker.handles.handshakes_inbound.add(worker.index, "ok");
    let caller = Caller::mesh(&worker, &accepted.peer, accepted.sni.as_deref(), address);
    let stream = Stream::Accepted(Box::new(accepted.stream));
    match accepted.alpn {
        Alpn::H2 => serve_http2(worker, stream, caller).await,
        Alpn::Tcp => opaque::serve(worker, stream, &caller).await,
        Alpn::Control => debug!(%address, "caller takes this sidecar for a control plane"),
    }
}

async fn serve_http1(worker: Rc<Worker>, stream: Stream, caller: Rc<Caller>) {
    let until = serve::UntilDrain {
        drain: worker.shared.drain.clone(),
        phase: Phase::InboundDraining,
    };
    let handler = |incoming| request(worker.clone(), incoming, caller.clone(), "http1");
    if let Err(error) = serve::http1(stream, until, handler).await {
        debug!(%error, address = %caller.address, "caller's connection ended");
    }
}

async fn serve_http2(worker: Rc<Worker>, stream: Stream, caller: Rc<Caller>) {
    let until = serve::UntilDrain {
        drain: worker.shared.drain.clone(),
        phase: Phase::InboundDraining,
    };
    let handler = |incoming| request(worker.clone(), incoming, caller.clone(), "http2");
    if let Err(error) = serve::http2(stream, until, handler).await {
        debug!(%error, address = %caller.address, "caller's connection ended");
    }
}

/// One request: always an answer.
async fn request(
    worker: Rc<Worker>,
    incoming: Request<Body>,
    caller: Rc<Caller>,
    protocol: &'static str,
) -> Response<Body> {
    let grpc = is_grpc(incoming.headers());
    let (protocol, dialect) = if grpc {
        ("grpc", Dialect::Grpc)
    } else {
        (protocol, Dialect::Http)
    };
    let method = incoming.method().clone();
    let mut record = Box::new(Record::begin(&worker, Direction::Inbound, method, protocol));
    record.source = caller.identity.clone();
    record.requests = Some(caller.requests.clone());
    let result = carry(&worker, incoming, &caller, &mut record).await;
    finish(result, dialect, record)
}

/// The stages, in order.
async fn carry(
    worker: &Rc<Worker>,
    mut incoming: Request<Body>,
    caller: &Caller,
    record: &mut Record,
) -> Result<(Response<Body>, Bounds), ProxyError> {
    let workload = worker.snapshot().workload().cloned();
    let workload = workload.ok_or(ProxyError::Internal {
        what: "inbound request before any policy",
    })?;
    record.service = Some(workload.label.clone());
    record.duration = Some(workload.duration.clone());
    transport_allowed(&workload, caller)?;
    head::normalize(&mut incoming)?;
    record.authority = incoming.uri().authority().cloned();
    record.path = incoming.uri().path_and_query().cloned();
    access_allowed(worker, &workload, &incoming, caller)?;
    let grpc = is_grpc(incoming.headers());
    let deadline = Deadline::of(incoming.headers(), &NO_POLICY, grpc, record.began());
    if deadline == Deadline::Expired {
        return Err(ProxyError::DeadlineExpired);
    }
    rewrite(worker, incoming.headers_mut(), caller, record);
    deadline::write(
        incoming.headers_mut(),
        deadline.remaining(clock::now()),
        grpc,
    );
    let version = version(&workload, caller, grpc);
    let call = call_application(worker, incoming, version, record);
    let mut response = match deadline.remaining(clock::now()) {
        None => call.await?,
        Some(left) => timeout(left, call)
            .await
            .map_err(|_| ProxyError::DeadlineExpired)??,
    };
    headers::remove_ours(response.headers_mut(), &[]);
    Ok((
        response,
        Bounds {
            idle: workload.policy.idle,
            until: None,
        },
    ))
}

/// On this side only the caller's deadline bounds a request until it is answered.
const NO_POLICY: Timeouts = Timeouts {
    request: None,
    request_is_explicit: false,
    backend_request: None,
    connect: CONNECT_MAX,
    idle: None,
    stream_max: None,
};

fn transport_allowed(workload: &InboundEntry, caller: &Caller) -> Result<(), ProxyError> {
    if access::transport_allowed(workload.policy.mtls, caller.identity.as_ref()) {
        Ok(())
    } else {
        Err(ProxyError::PlaintextRefused)
    }
}

fn access_allowed(
    worker: &Worker,
    workload: &InboundEntry,
    incoming: &Request<Body>,
    caller: &Caller,
) -> Result<(), ProxyError> {
    let port = caller.port.ok_or_else(|| ProxyError::NoSuchPort {
        service: workload.policy.service.clone(),
        port: None,
    })?;
    let http = HttpAccess {
        method: incoming.method(),
        path: incoming.uri().path(),
    };
    let asked = Access {
        caller: caller.identity.as_ref(),
        port,
        http: Some(http),
    };
    decide_access(worker, workload, &asked)
}

/// The policies' verdict; dry runs are counted.
fn decide_access(
    worker: &Worker,
    workload: &InboundEntry,
    asked: &Access<'_>,
) -> Result<(), ProxyError> {
    let verdict = access::decide(&workload.policy.access, asked);
    for refused in &verdict.dry_run {
        let policies = workload.policy.access.iter().zip(&workload.dry_run);
        for (_, counter) in policies.filter(|(policy, _)| Arc::ptr_eq(&policy.name, refused)) {
            counter.add(worker.index, 1);
        }
    }
    match verdict.denied_by {
        Some(policy) => Err(ProxyError::AccessDenied {
            policy: policy.clone(),
        }),
        None => Ok(()),
    }
}

/// Headers as the application may trust them.
fn rewrite(worker: &Worker, headers: &mut http::HeaderMap, caller: &Caller, record: &mut Record) {
    headers::remove_hop_by_hop(headers);
    let trusted = caller.identity.is_some();
    // What another sidecar may say in our words.
    let from_sidecars = [ATTEMPT, DEADLINE];
    headers::remove_ours(headers, if trusted { &from_sidecars } else { &[] });
    match &caller.certificate {
        Some(certificate) => headers.insert(headers::CLIENT_CERTIFICATE, certificate.clone()),
        None => headers.remove(headers::CLIENT_CERTIFICATE),
    };
    let trust = if trusted {
        trace_context::Caller::Trusted
    } else {
        trace_context::Caller::Untrusted
    };
    record.request_id = Some(ensure_request_id(headers, trust, worker.random()));
    if let Some(parent) = TraceContext::of(headers) {
        let context = parent.child(worker.random());
        context.write(headers);
        record.trace_id = Some(context.trace_id);
    }
}

/// The port's declared protocol; undeclared, what the request itself needs.
fn version(workload: &InboundEntry, caller: &Caller, grpc: bool) -> Version {
    match caller.port.and_then(|port| declared(workload, port)) {
        Some(Protocol::Http2 | Protocol::Grpc) => Version::Http2,
        Some(Protocol::Http1 | Protocol::Tcp) => Version::Http1,
        Some(Protocol::Detect) | None if grpc => Version::Http2,
        Some(Protocol::Detect) | None => Version::Http1,
    }
}

fn declared(workload: &InboundEntry, port: Port) -> Option<Protocol> {
    let mut ports = workload.policy.ports.iter();
    ports
        .find(|(declared, _)| *declared == port)
        .map(|(_, protocol)| *protocol)
}

/// One exchange with our application; a second one if the first provably did not reach it.
async fn call_application(
    worker: &Rc<Worker>,
    incoming: Request<Body>,
    version: Version,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let address = worker.application.ok_or(ProxyError::Internal {
        what: "inbound without an application",
    })?;
    let key = Key {
        endpoint: APPLICATION,
        port: address.port(),
    };
    let application = Application {
        address,
        key,
        version,
        connect: CONNECT_MAX,
    };
    let (head, body) = incoming.into_parts();
    let idempotent = is_idempotent(&head.method);
    let body = (!body.is_end_stream()).then(|| Replay::new(body, REPLAY_MAX));
    record.request = body.clone();
    let again = head.clone();
    for head in [head, again] {
        let body = match &body {
            None => Body::Empty,
            Some(replay) => match replay.attempt() {
                Some(body) => Body::Replay(body),
                None => break,
            },
        };
        record.attempt(address, clock::now());
        let request = Request::from_parts(head, body);
        let open = || Ok(worker.application_connection());
        let result = with_application(worker, application, open, (), request).await;
        match result {
            Err(error) if record.attempts < 2 && is_stale_connection(&error, idempotent) => {
                debug!(%error, "application closed an idle connection; asking again");
            }
            result => return result,
        }
    }
    Err(ProxyError::UpstreamReset {
        endpoint: address,
        processing: Processing::Unknown,
    })
}

/// For the one repeat that a stale connection may cost.
const REPLAY_MAX: usize = 64 * 1024;

fn is_stale_connection(error: &ProxyError, idempotent: bool) -> bool {
    match error {
        ProxyError::UpstreamReset { processing, .. } => *processing == Processing::Unprocessed,
        ProxyError::IdleRace { .. } => idempotent,
        _ => false,
    }
}
