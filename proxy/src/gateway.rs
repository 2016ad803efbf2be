//! Story: outside world → mesh, one call per stage.
//!
//! Callers are strangers: nothing that they say about identity, time or the way here is believed, and nothing that the
//! mesh says about itself goes out to them. A connection's port, and in TLS the name that it asks for, lead to a
//! listener; a request's host and the routes on that listener lead to a service. From there on a request goes the way
//! of an application's ([`outbound::forward`]). [`request`] is its life; read it from top to bottom.

mod handshake;
mod opaque;

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Request, Response};
use tokio::net::TcpStream;
use tracing::debug;
use usher_config::{
    model::{BackendTarget, ListenerProtocol, Protocol},
    value::{Name, Port},
};

use crate::{
    detect::{parser::Detected, reader},
    error::{Misdirected, ProxyError},
    guard::{
        Arrived, authenticated, strip_claims, within_limits_after_tokens,
        within_limits_before_tokens,
    },
    http::{
        Body, Interim, error_response,
        error_response::Dialect,
        finish, head,
        outside::{self, Outsider},
        serve, unsaid,
        watched::Bounds,
        windows::OUTSIDERS_WINDOW,
    },
    outbound::{self, Routed, discover},
    policy::{rate_limit::Claims, retry::is_grpc},
    route::{
        self,
        filter::{Asked, Chain},
        pick_backend_at,
    },
    snapshot::{GatewayPort, Guards, ListenerEntry, RouteEntry, ServiceEntry, Treatment},
    tcp::Stream,
    telemetry::{metrics::Direction, trace_context},
    upstream::call::Plan,
    worker::{Phase, Record, Worker},
};

use handshake::{Shaken, handshake};

/// For a caller's first bytes; HTTP callers speak first and at once.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);

/// A connection from outside.
struct Caller {
    address: SocketAddr,
    /// Of the gateway, where it came in.
    port: Port,
    /// The listener whose name it asked for in TLS; `None`: there was no TLS.
    listener: Option<Name>,
}

/// Serves a connection until it ends.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr, port: Port) {
    // Kept for as long as the connection lasts.
    let place = worker.outsiders.as_ref();
    let place = place.map(|outsiders| outsiders.enter(address.ip()));
    if matches!(place, Some(None)) {
        return worker.handles.ended.add(worker.index, "peer");
    }
    let snapshot = worker.snapshot();
    let Some(at) = snapshot
        .gateway()
        .and_then(|gateway| gateway.port(port))
        .cloned()
    else {
        return;
    };
    drop(snapshot);
    let caller = Caller {
        address,
        port,
        listener: None,
    };
    if at.tls {
        return serve_tls(worker, stream, &at, caller).await;
    }
    if at.opaque {
        return opaque::serve(
            worker,
            Stream::Plain(stream),
            (at.listeners.unnamed(), ""),
            &caller,
        )
        .await;
    }
    let Ok(detected) = reader::look(&stream, FIRST_BYTES_MAX).await else {
        return;
    };
    worker.handles.detected.add(worker.index, detected.as_str());
    let caller = Rc::new(caller);
    match detected {
        Detected::Http2Preface => serve_http2(worker, Stream::Plain(stream), caller).await,
        // Nearly HTTP is refused with a reason, by the strict reader.
        Detected::Http1 | Detected::Unknown => {
            serve_http1(worker, Stream::Plain(stream), caller).await;
        }
        Detected::Tls | Detected::NeedMore => {
            debug!(%address, detected = detected.as_str(), "caller speaks no plain HTTP");
        }
    }
}

/// The name asked for picks the listener; the listener says where TLS ends, and what is inside.
async fn serve_tls(worker: Rc<Worker>, stream: TcpStream, at: &GatewayPort, mut caller: Caller) {
    let Some((listener, shaken)) = Box::pin(handshake(&worker, stream, at, &caller)).await else {
        return;
    };
    match shaken {
        Shaken::Passed { stream, sni } => {
            opaque::serve(worker, stream, (Some(&listener), &sni), &caller).await;
        }
        Shaken::Opened { stream, sni, .. }
            if listener.protocol == ListenerProtocol::TlsTerminate =>
        {
            opaque::serve(worker, stream, (Some(&listener), &sni), &caller).await;
        }
        Shaken::Opened { stream, h2, .. } => {
            caller.listener = Some(listener.name.clone());
            let caller = Rc::new(caller);
            if h2 {
                serve_http2(worker, stream, caller).await;
            } else {
                serve_http1(worker, stream, caller).await;
            }
        }
    }
}

async fn serve_http1(worker: Rc<Worker>, stream: Stream, caller: Rc<Caller>) {
    let handler = |incoming, interim| -> serve::Handling {
        let (worker, caller) = (worker.clone(), caller.clone());
        Box::pin(request(worker, incoming, interim, (caller, "http1")))
    };
    match Box::pin(serve::http1(stream, terms(&worker), &handler)).await {
        Ok(served) => served.count(&worker),
        Err(error) => debug!(%error, address = %caller.address, "caller's connection ended"),
    }
}

async fn serve_http2(worker: Rc<Worker>, stream: Stream, caller: Rc<Caller>) {
    let handler = |incoming, interim| -> serve::Handling {
        let (worker, caller) = (worker.clone(), caller.clone());
        Box::pin(request(worker, incoming, interim, (caller, "http2")))
    };
    let window = OUTSIDERS_WINDOW;
    let served = Box::pin(serve::http2(stream, terms(&worker), window, &handler));
    match served.await {
        Ok(served) => served.count(&worker),
        Err(error) => debug!(%error, address = %caller.address, "caller's connection ended"),
    }
}

fn terms(worker: &Worker) -> (serve::UntilDrain, serve::Idle) {
    let until = serve::UntilDrain {
        drain: worker.shared.drain.clone(),
        phase: Phase::OutboundDraining,
    };
    (until, serve::Idle::OUTSIDE)
}

/// One request: always an answer, and nothing of ours in it.
async fn request(
    worker: Rc<Worker>,
    mut incoming: Request<Body>,
    interim: Interim,
    (caller, protocol): (Rc<Caller>, &'static str),
) -> Response<Body> {
    let grpc = is_grpc(incoming.headers());
    let (protocol, dialect) = if grpc {
        ("grpc", Dialect::Grpc)
    } else {
        (protocol, Dialect::Http)
    };
    let method = incoming.method().clone();
    let mut record = Box::new(Record::begin(
        &worker,
        Direction::Outbound,
        method,
        protocol,
    ));
    record.requests = Some(worker.handles.unrouted.clone());
    record.client = Some(caller.address.ip());
    if !grpc {
        record.interim = interim;
    }
    let mut filters = Chain::default();
    let result = carry(&worker, &mut incoming, &caller, (&mut record, &mut filters)).await;
    let result = match result {
        Ok((answer, bounds)) => Ok((error_response::without_words(answer), bounds)),
        Err(error) => {
            record.error(&error);
            let mut answer = error_response::respond_outside(&error, dialect);
            filters.permit(answer.headers_mut());
            Ok((answer, Bounds::default()))
        }
    };
    let mut response = finish(result, dialect, record);
    outside::go_out(&mut response);
    response
}

/// The stages, in order. `filters`: of the route, once it is known.
async fn carry(
    worker: &Rc<Worker>,
    incoming: &mut Request<Body>,
    caller: &Caller,
    (record, filters): (&mut Record, &mut Chain),
) -> Result<(Response<Body>, Bounds), ProxyError> {
    record.read_head(incoming, worker.snapshot().path_reading())?;
    let authority = record.authority.clone();
    let authority = authority.as_ref().map(http::uri::Authority::as_str);
    let host = head::parse(authority.unwrap_or_default())?.host;
    let listener = listener(worker, caller, &host)?;
    let outsider = Outsider {
        ip: caller.address.ip(),
        tls: caller.listener.is_some(),
        host: authority,
        trusted_hops: worker.shared.trusted_hops,
    };
    record.client = Some(outside::come_in(incoming.headers_mut(), outsider));
    strip_claims(incoming.headers_mut(), &listener.claim_headers);
    unsaid::in_trailers(incoming, &listener.claim_headers);
    let found = route(worker, incoming, (&listener, &host), (record, filters)).await?;
    let (routed, guards) = match found {
        Way::Onward(routed, guards) => (routed, guards),
        Way::Answered(answer) => return Ok((answer, Bounds::default())),
    };
    let asked = arrived(incoming, record, None);
    let taken = within_limits_before_tokens(worker, &guards.limits, asked)?;
    let claims = authenticated(worker, guards.tokens.as_deref(), incoming)?;
    let asked = arrived(incoming, record, claims.as_ref());
    within_limits_after_tokens(worker, &guards.limits, asked, taken)?;
    outbound::forward(worker, incoming, &routed, record).await
}

/// The listener that a request belongs to: of those on its port the one that names its host most precisely. In TLS it
/// has to be the one whose certificate was shown.
fn listener(
    worker: &Worker,
    caller: &Caller,
    host: &str,
) -> Result<Arc<ListenerEntry>, ProxyError> {
    let misdirected = |why| ProxyError::Misdirected {
        host: host.into(),
        why,
    };
    let snapshot = worker.snapshot();
    let port = snapshot
        .gateway()
        .and_then(|gateway| gateway.port(caller.port));
    let port = port.ok_or_else(|| misdirected(Misdirected::Port))?;
    let found = port.listeners.most_precise(host);
    match (found, &caller.listener) {
        (Some(found), None) => Ok(found.clone()),
        (Some(found), Some(shown)) if found.name == *shown => Ok(found.clone()),
        (_, Some(_)) => Err(misdirected(Misdirected::Connection)),
        (None, None) => Err(misdirected(Misdirected::Host)),
    }
}

/// Where a request goes from its route.
enum Way {
    Onward(Routed, Guards),
    /// Nowhere: a filter has answered.
    Answered(Response<Body>),
}

/// Which rule, and whose endpoints; or what a filter answers.
async fn route(
    worker: &Rc<Worker>,
    incoming: &Request<Body>,
    (listener, host): (&ListenerEntry, &str),
    (record, filters): (&mut Record, &mut Chain),
) -> Result<Way, ProxyError> {
    let uri = incoming.uri();
    let found = listener.select(&route::Request {
        port: listener.port,
        host,
        authority: uri.authority().map_or("", http::uri::Authority::as_str),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        method: incoming.method(),
        headers: incoming.headers(),
    });
    let (route, entry) = found.ok_or_else(|| ProxyError::Misdirected {
        host: host.into(),
        why: Misdirected::Route,
    })?;
    record.route = Some(route.name.clone());
    record.requests = Some(entry.treatment.requests.clone());
    let asked = Asked {
        method: incoming.method(),
        headers: incoming.headers(),
        uri,
        https: listener.protocol == ListenerProtocol::Https,
        port: Some(listener.port.get()),
    };
    *filters = Chain::of_rule(route.filters.as_ref(), incoming.headers());
    if let Some(answer) = filters.answer(&asked) {
        return Ok(Way::Answered(answer.map(|()| Body::Empty)));
    }
    let nobody = || ProxyError::InvalidBackend {
        route: route.name.clone(),
    };
    let (position, backend) =
        pick_backend_at(&route.backends, worker.random()).ok_or_else(nobody)?;
    let target = match &backend.target {
        BackendTarget::Service(target) => target,
        BackendTarget::Invalid(_) => return Err(nobody()),
    };
    if backend.filters.is_some() {
        filters.for_backend(backend.filters.as_ref(), incoming.headers());
        if let Some(answer) = filters.answer(&asked) {
            return Ok(Way::Answered(answer.map(|()| Body::Empty)));
        }
    }
    let service = discover::by_name(worker, &target.service).await?;
    service.mark_used();
    let declared = service.model.port(target.port.get());
    if declared.is_some_and(|port| port.protocol == Protocol::Tcp) {
        return Err(nobody());
    }
    record.service = Some(service.label.clone());
    record.duration = Some(service.metrics.duration.clone());
    let treatment = treatment(entry, position, &service);
    let requests = entry.requests.get(position).cloned();
    record.requests = requests.or(record.requests.take());
    let plan = Plan {
        target: service.clone(),
        port: target.port,
        treatment,
        only: None,
    };
    let routed = Routed {
        plan,
        service,
        filters: filters.clone(),
        caller: trace_context::Caller::Untrusted,
    };
    Ok(Way::Onward(routed, entry.guards.clone()))
}

/// A request that has found its route.
fn arrived<'a>(
    request: &'a Request<Body>,
    record: &'a Record,
    claims: Option<&'a Claims>,
) -> Arrived<'a> {
    Arrived {
        request,
        identity: None,
        route: record.route.as_deref().unwrap_or_default(),
        source: record.client,
        claims,
    }
}

/// The route's for this backend where the route says something, else the service's own.
fn treatment(entry: &RouteEntry, backend: usize, service: &ServiceEntry) -> Arc<Treatment> {
    let of_route = entry.backends.get(backend).and_then(Option::as_ref);
    of_route.unwrap_or(&service.treatment).clone()
}
