//! Story: mesh → application, one call per stage.
//!
//! The caller's identity comes from its certificate and from nowhere else; what it says about itself in
//! headers is replaced. [`request`] is the life of a request; read it from top to bottom.

mod application;
mod caller;
mod opaque;

use std::{
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use tokio::{net::TcpStream, time::timeout};
use tracing::{debug, warn};
use usher_config::model::Timeouts;

use crate::{
    clock,
    detect::{
        parser::Detected,
        reader::{self, First},
    },
    error::ProxyError,
    guard::within_limits,
    http::{
        Body, Interim, error_response::Dialect, finish, headers, refuse, serve, silence,
        upgrade::Offer, watched::Bounds, windows::CONNECTION_WINDOW,
    },
    policy::{
        access::{self, Access, HttpAccess},
        retry::{ATTEMPT, is_grpc},
        timeout::{self as deadline, DEADLINE, Deadline},
    },
    snapshot::InboundEntry,
    tcp::{Looked, Stream},
    telemetry::{
        metrics::Direction,
        trace_context::{self, TraceContext, ensure_request_id},
    },
    tls::{self, Accepted, Alpn, Greeted, TlsError},
    upstream::dial::Version,
    worker::{Phase, Record, Worker},
};

use caller::{Caller, Meant, no_such_port};

/// For a caller's first bytes. Sidecars and HTTP callers speak first; who connects ahead of a request may take its time.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);

/// The same, where opaque bytes may reach our application: a plaintext caller that waits for it to speak is served as
/// opaque when it does, at the latest after this time.
const OPAQUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// To our own application: it is on this machine and answers at once or not at all.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. What it is found to be is boxed: a connection then keeps the memory of its
/// own story, not of the largest one. `destination`: where it was going, if the kernel handed it over on its way.
pub async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    address: SocketAddr,
    destination: Option<SocketAddr>,
) {
    let meant = Meant::by(&worker, destination);
    let mut ahead = None;
    let first = if opaque::takes_opaque_plaintext(&worker, &meant) {
        let speaks_first = Box::pin(opaque::speaks_first(&worker, &meant, &mut ahead));
        reader::look_unless(&stream, OPAQUE_WAIT_MAX, speaks_first).await
    } else {
        let detected = reader::look(&stream, FIRST_BYTES_MAX).await;
        detected.map(First::Caller)
    };
    let detected = match first {
        Ok(First::Caller(detected)) => detected,
        Ok(First::Called(())) => {
            worker.handles.detected.add(worker.index, "server_first");
            let caller = Caller::plaintext(&worker, address, &meant);
            return Box::pin(opaque::serve(worker, Stream::Plain(stream), caller, ahead)).await;
        }
        Err(_) => return worker.handles.detected.add(worker.index, "silent"),
    };
    worker.handles.detected.add(worker.index, detected.as_str());
    let ahead = match detected {
        Detected::Unknown | Detected::NeedMore => ahead,
        Detected::Tls | Detected::Http1 | Detected::Http2Preface => None,
    };
    // Not of whoever turns out to be another sidecar: it would be remembered as a caller in plaintext.
    let caller = || Caller::plaintext(&worker, address, &meant);
    match detected {
        Detected::Http1 => {
            let caller = caller();
            Box::pin(serve_http1(worker, Stream::Plain(stream), caller)).await;
        }
        Detected::Http2Preface => {
            let caller = caller();
            Box::pin(serve_http2(worker, Stream::Plain(stream), caller)).await;
        }
        Detected::Tls => match Box::pin(handshake(&worker, stream, address)).await {
            Some(Greeted::Sidecar(accepted)) => mesh_story(worker, accepted, address).await,
            // To us an application's own TLS is as opaque, and as unknown, as any other bytes.
            Some(Greeted::Application(stream, seen)) => {
                let stream = Looked::after(Stream::Plain(stream), &seen).into_stream();
                let caller = caller();
                Box::pin(opaque::serve(worker, stream, caller, None)).await;
            }
            None => {}
        },
        // It should be HTTP and is not quite, or not yet: the strict reader waits, and says why it is refused.
        Detected::Unknown | Detected::NeedMore if opaque::is_http_only(&worker, &meant) => {
            let caller = caller();
            Box::pin(serve_http1(worker, Stream::Plain(stream), caller)).await;
        }
        Detected::Unknown | Detected::NeedMore => {
            let caller = caller();
            Box::pin(opaque::serve(worker, Stream::Plain(stream), caller, ahead)).await;
        }
    }
}

/// What follows on a handshake. Chosen before anything is waited for: the connection itself is only in its story, and
/// what was made for the handshake is gone.
fn mesh_story(
    worker: Rc<Worker>,
    accepted: Box<Accepted>,
    address: SocketAddr,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let accepted = *accepted;
    let caller = Caller::mesh(&worker, &accepted.peer, accepted.sni.as_deref(), address);
    let stream = Stream::Accepted(Box::new(accepted.stream));
    match accepted.alpn {
        Alpn::H2 => {
            stream.becomes_hop();
            Box::pin(serve_http2(worker, stream, caller))
        }
        Alpn::Tcp => Box::pin(opaque::serve(worker, stream, caller, None)),
        Alpn::Control => {
            debug!(%address, "caller takes this sidecar for a control plane");
            Box::pin(ready(()))
        }
    }
}

/// Who begins with TLS, within the bounds on handshakes; `None`: counted and logged.
async fn handshake(worker: &Worker, stream: TcpStream, address: SocketAddr) -> Option<Greeted> {
    let count = |outcome| worker.handles.handshakes_inbound.add(worker.index, outcome);
    let Some(_place) = worker.handshakes.enter(address.ip()) else {
        count("overflow");
        if worker.warnings.handshakes.is_due(clock::now()) {
            warn!(%address, "more TLS handshakes under way than this sidecar takes");
        }
        Stream::Plain(stream).reset_on_close();
        return None;
    };
    let material = worker.shared.material.load_full();
    match tls::accept(stream, &material, worker.shared.store.own()).await {
        Ok(greeted) => {
            count(match greeted {
                Greeted::Sidecar(_) => "ok",
                Greeted::Application(..) => "not_mesh",
            });
            Some(greeted)
        }
        Err(error) => {
            count(error.outcome());
            let misdirected = matches!(error, TlsError::OtherService { .. });
            if misdirected && worker.warnings.misdirected.is_due(clock::now()) {
                warn!(%error, %address, "caller has an old address of another service");
            }
            debug!(%error, %address, "caller's handshake failed");
            None
        }
    }
}

async fn serve_http1(worker: Rc<Worker>, stream: Stream, caller: Rc<Caller>) {
    let until = serve::UntilDrain {
        drain: worker.shared.drain.clone(),
        phase: Phase::InboundDraining,
    };
    let handler = |incoming, interim| -> serve::Handling {
        let (worker, caller) = (worker.clone(), caller.clone());
        Box::pin(request(worker, incoming, interim, (caller, "http1")))
    };
    match serve::http1(stream, (until, serve::Idle::MESH), &handler).await {
        Ok(served) => served.count(&worker),
        Err(error) => debug!(%error, address = %caller.address, "caller's connection ended"),
    }
}

async fn serve_http2(worker: Rc<Worker>, stream: Stream, caller: Rc<Caller>) {
    let until = serve::UntilDrain {
        drain: worker.shared.drain.clone(),
        phase: Phase::InboundDraining,
    };
    let handler = |incoming, interim| -> serve::Handling {
        let (worker, caller) = (worker.clone(), caller.clone());
        Box::pin(request(worker, incoming, interim, (caller, "http2")))
    };
    match serve::http2(
        stream,
        (until, serve::Idle::MESH),
        CONNECTION_WINDOW,
        &handler,
    )
    .await
    {
        Ok(served) => served.count(&worker),
        Err(error) => debug!(%error, address = %caller.address, "caller's connection ended"),
    }
}

/// One request: always an answer, or the refusal that stands for one between sidecars. Stages are lent the request: each
/// future that takes it in has place for it twice, and a box of their sum is made for every request.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments beside what it makes of them"
)]
fn request(
    worker: Rc<Worker>,
    mut incoming: Request<Body>,
    interim: Interim,
    (caller, protocol): (Rc<Caller>, &'static str),
) -> impl Future<Output = Response<Body>> {
    async move {
        let grpc = is_grpc(incoming.headers());
        let (protocol, dialect) = if grpc {
            ("grpc", Dialect::Grpc)
        } else {
            (protocol, Dialect::Http)
        };
        let method = incoming.method().clone();
        let mut record = Box::new(Record::begin(&worker, Direction::Inbound, method, protocol));
        record.source = caller.identity.clone();
        record.source_service = caller.service.clone();
        record.requests = Some(caller.requests.clone());
        if !grpc && (caller.identity.is_none() || Interim::is_asked_for(incoming.headers())) {
            record.interim = interim;
        }
        match carry(&worker, &mut incoming, &caller, &mut record).await {
            Err(error) if caller.identity.is_some() && error.is_unprocessed() => {
                refuse(&error, dialect, record)
            }
            result => finish(result, dialect, record),
        }
    }
}

/// The stages, in order.
async fn carry(
    worker: &Rc<Worker>,
    incoming: &mut Request<Body>,
    caller: &Caller,
    record: &mut Record,
) -> Result<(Response<Body>, Bounds), ProxyError> {
    let workload = worker.snapshot().workload().cloned();
    let workload = workload.ok_or(ProxyError::Internal {
        what: "inbound request before any policy",
    })?;
    record.service = Some(workload.label.clone());
    record.duration = Some(workload.duration.clone());
    transport_allowed(&workload, caller).inspect_err(|_| record.note_sent(incoming))?;
    record.read_head(incoming, worker.snapshot().path_reading())?;
    // Before anything is written that `Connection` could name.
    headers::remove_hop_by_hop(incoming.headers_mut());
    let claims = caller.authenticated(worker, &workload, incoming)?;
    access_allowed(worker, &workload, (incoming, claims.as_ref()), caller)?;
    within_limits(
        worker,
        &workload.limits,
        caller.arrived(incoming, claims.as_ref()),
    )?;
    let version = application::version(&workload, caller, is_grpc(incoming.headers()));
    // HTTP/1 carries no gRPC, whatever a caller says.
    let grpc = version == Version::Http2 && is_grpc(incoming.headers());
    let deadline = Deadline::of(incoming.headers(), &NO_POLICY, grpc, record.began());
    if deadline == Deadline::Expired {
        return Err(ProxyError::DeadlineExpired);
    }
    if caller.identity.is_some() {
        Offer::from_sidecar(incoming);
    }
    if incoming.extensions().get::<Offer>().is_some() {
        record.tcp_bytes = Some(workload.tcp_bytes.clone());
    }
    rewrite(worker, incoming.headers_mut(), caller, record);
    let left = deadline.remaining(clock::now());
    deadline::write(incoming.headers_mut(), left, grpc);
    let asked = application::Asked {
        caller,
        version,
        idle: silence::within(workload.policy.idle, left),
    };
    let call = application::call(worker, incoming, asked, record);
    let mut response = match left {
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

/// On this side only the caller's deadline, and silence, bound a request until it is answered.
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
        caller.is_let_in();
        Ok(())
    } else {
        caller.is_refused();
        Err(ProxyError::PlaintextRefused)
    }
}

fn access_allowed(
    worker: &Worker,
    workload: &InboundEntry,
    (incoming, claims): (&Request<Body>, Option<&access::Claims>),
    caller: &Caller,
) -> Result<(), ProxyError> {
    let port = caller.port.ok_or_else(|| no_such_port(workload))?;
    let http = HttpAccess {
        method: incoming.method(),
        path: incoming.uri().path(),
        claims,
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
    let trusted = caller.identity.is_some();
    // What another sidecar may say in our words.
    let from_sidecars = [ATTEMPT, DEADLINE];
    headers::remove_ours(headers, if trusted { &from_sidecars } else { &[] });
    if let Some(certificate) = &caller.certificate {
        headers.insert(headers::CLIENT_CERTIFICATE, certificate.clone());
    }
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
