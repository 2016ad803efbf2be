//! Story: application → mesh, one call per stage.
//!
//! Explicit mode: the application sends HTTP to this sidecar's outbound listener, and the authority names the
//! service. Transparent mode ([`serve_intercepted`]): the kernel hands its connections
//! over. [`request`] is the life of a request; read it from top to bottom.

pub(crate) mod discover;
mod deadline;
mod fallback;
mod faults;
mod filters;
mod intercepted;
mod mirror;
mod opaque;
mod streams;
mod trace;

use std::{mem::take, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body as _;
use tokio::net::TcpStream;
use tracing::{debug, warn};
use usher_config::model::BackendTarget;

use crate::{
    clock,
    detect::{parser::Detected, reader},
    error::{Limit, Misdirected, ProxyError},
    http::{
        Body, Interim, Replay, error_response::Dialect, finish, headers, serve, upgrade::Offer,
        watched::Bounds, windows::CONNECTION_WINDOW,
    },
    policy::{
        breaker::Admission,
        limits::Place,
        retry::{ATTEMPT, RequestTraits, is_grpc},
        timeout::{DEADLINE, Deadline},
    },
    route::{self, filter::Chain, pick_backend},
    snapshot::ServiceEntry,
    tcp::Stream,
    telemetry::{metrics::Direction, trace_context::Caller},
    upstream::call::{Called, Outgoing, Plan, call},
    worker::{Phase, Record, Worker, announce_breaker},
};

use discover::Found;
use mirror::Copies;

pub use intercepted::serve_intercepted;
pub use opaque::{serve_stream, serve_tcp};

/// For a caller's first bytes; HTTP callers speak first and at once.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);

/// Serves a connection from our application until it ends.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream) {
    let Ok(detected) = reader::look(&stream, FIRST_BYTES_MAX).await else {
        return worker.handles.detected.add(worker.index, "silent");
    };
    worker.handles.detected.add(worker.index, detected.as_str());
    match detected {
        // Nearly HTTP is refused with a reason, by the strict reader; who connects ahead of a request may take its time.
        Detected::Http1 | Detected::Unknown | Detected::NeedMore => {
            serve_http1(worker, Stream::Plain(stream), None).await;
        }
        Detected::Http2Preface => serve_http2(worker, Stream::Plain(stream), None).await,
        // Opaque bytes name no destination here: they need a listener of their own (`--tcp`).
        Detected::Tls => {
            if worker.warnings.opaque.is_due(clock::now()) {
                warn!(
                    "closed a connection of the application that speaks TLS: that is the sidecar's task, and opaque bytes need a listener of their own (--tcp)"
                );
            }
        }
    }
}

/// `meant`: where an intercepted connection was going.
async fn serve_http1(worker: Rc<Worker>, stream: Stream, meant: Option<SocketAddr>) {
    let handler = |incoming, interim| -> serve::Handling {
        Box::pin(request(worker.clone(), incoming, interim, (meant, "http1")))
    };
    match Box::pin(serve::http1(stream, terms(&worker), &handler)).await {
        Ok(served) => served.count(&worker),
        Err(error) => debug!(%error, "application's connection ended"),
    }
}

async fn serve_http2(worker: Rc<Worker>, stream: Stream, meant: Option<SocketAddr>) {
    let handler = |incoming, interim| -> serve::Handling {
        Box::pin(request(worker.clone(), incoming, interim, (meant, "http2")))
    };
    let window = CONNECTION_WINDOW;
    let served = Box::pin(serve::http2(stream, terms(&worker), window, &handler));
    match served.await {
        Ok(served) => served.count(&worker),
        Err(error) => debug!(%error, "application's connection ended"),
    }
}

fn terms(worker: &Worker) -> (serve::UntilDrain, serve::Idle) {
    let until = serve::UntilDrain {
        drain: worker.shared.drain.clone(),
        phase: Phase::OutboundDraining,
    };
    (until, serve::Idle::MESH)
}

/// One request: always an answer. Its stages are lent it (see `inbound::request`).
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments beside what it makes of them"
)]
fn request(
    worker: Rc<Worker>,
    mut incoming: Request<Body>,
    interim: Interim,
    (meant, protocol): (Option<SocketAddr>, &'static str),
) -> impl Future<Output = Response<Body>> {
    async move {
        let grpc = is_grpc(incoming.headers());
        let (protocol, dialect) = if grpc {
            ("grpc", Dialect::Grpc)
        } else {
            (protocol, Dialect::Http)
        };
        let (direction, method) = (Direction::Outbound, incoming.method().clone());
        let mut record = Box::new(Record::begin(&worker, direction, method, protocol));
        record.requests = Some(worker.handles.unrouted.clone());
        if !grpc {
            record.interim = interim;
        }
        let result = carry(&worker, &mut incoming, meant, &mut record).await;
        finish(result, dialect, record)
    }
}

/// The stages, in order.
async fn carry(
    worker: &Rc<Worker>,
    incoming: &mut Request<Body>,
    meant: Option<SocketAddr>,
    record: &mut Record,
) -> Result<(Response<Body>, Bounds), ProxyError> {
    let read = record.read_head(incoming, worker.snapshot().path_reading());
    read.inspect_err(|_| discover::note_known(worker, meant, record))?;
    let authority = record.authority.clone();
    let authority = authority
        .as_ref()
        .map_or("", |authority| authority.as_str());
    let found = match meant {
        None => discover::by_authority(worker, authority).await?,
        Some(destination) => discover::by_destination(worker, destination, authority).await?,
    };
    let routed = match route(worker, incoming, &found, record).await? {
        Way::Onward(routed) => routed,
        Way::Answered(answer) => return Ok((answer, Bounds::default())),
    };
    forward(worker, incoming, &routed, record).await
}

/// Where a request goes from its route.
enum Way {
    Onward(Routed),
    /// Nowhere: a filter has answered.
    Answered(Response<Body>),
}

/// A request that has found its way.
pub(crate) struct Routed {
    pub(crate) plan: Plan,
    /// Whose breaker is asked.
    pub(crate) service: Arc<ServiceEntry>,
    /// Of its rule and backend.
    pub(crate) filters: Chain,
    /// Whether its names for request and trace count.
    pub(crate) caller: Caller,
}

/// The stages from there on, in order; a gateway's requests pass them too.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    incoming: &mut Request<Body>,
    routed: &Routed,
    record: &mut Record,
) -> Result<(Response<Body>, Bounds), ProxyError> {
    let Routed {
        plan,
        service,
        filters,
        ..
    } = routed;
    let (mut outgoing, copies) = prepare(worker, incoming, routed, record)?;
    let leave = match faults::inject(worker, plan, &outgoing, record).await {
        Ok(()) => admit(worker, plan, service, record),
        injected => injected,
    };
    let called = match leave {
        Ok(()) => {
            copies.send(worker);
            call(worker, plan, &outgoing, record).await
        }
        Err(refusal) => Called::refused(refusal),
    };
    if let Some(outcome) = called.outcome {
        record
            .settlement
            .tell_breaker(worker, outcome, clock::now());
    }
    let mut response = fallback::or_fallback(worker, plan, &mut outgoing, called, record).await?;
    outgoing.release();
    filters.edit_response(response.headers_mut(), filters::answerer(record));
    Ok((response, Bounds::of(&plan.treatment.policy.timeouts)))
}

/// Which rules, whose endpoints; or what a filter answers.
async fn route(
    worker: &Rc<Worker>,
    incoming: &Request<Body>,
    Found {
        service,
        port,
        only,
        ..
    }: &Found,
    record: &mut Record,
) -> Result<Way, ProxyError> {
    let (port, only) = (*port, *only);
    service.mark_used();
    record.service = Some(service.label.clone());
    record.duration = Some(service.metrics.duration.clone());
    let (uri, headers) = (incoming.uri(), incoming.headers());
    let asked = route::Request {
        port,
        host: uri.host().unwrap_or_default(),
        authority: uri.authority().map_or("", http::uri::Authority::as_str),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        method: incoming.method(),
        headers,
    };
    // Who dials an endpoint's own address means that endpoint: routes are about the service's (GEP-1426).
    let found = match only {
        None => service.table.select(&asked),
        Some(_) => None,
    };
    let found =
        found.and_then(|(position, route)| Some((route, service.route_treatments.get(position)?)));
    let Some((route, treatment)) = found else {
        record.requests = Some(service.treatment.requests.clone());
        if only.is_none() && service.table.governs(port) {
            return Err(ProxyError::Misdirected {
                host: asked.host.into(),
                why: Misdirected::Rule,
            });
        }
        let plan = Plan {
            target: service.clone(),
            port,
            treatment: service.treatment.clone(),
            only,
        };
        return Ok(onward(plan, service, Chain::default()));
    };
    record.route = Some(route.name.clone());
    record.requests = Some(treatment.requests.clone());
    let mut filters = Chain::of_rule(route.filters.as_ref(), headers);
    if let Some(answer) = filters.answer(&filters::asked(incoming)) {
        return Ok(Way::Answered(answer.map(|()| Body::Empty)));
    }
    let nobody = || ProxyError::InvalidBackend {
        route: route.name.clone(),
    };
    let chosen = pick_backend(&route.backends, worker.random()).ok_or_else(nobody)?;
    let target = match &chosen.target {
        BackendTarget::Service(target) => target,
        BackendTarget::Invalid(_) => return Err(nobody()),
    };
    if chosen.filters.is_some() {
        filters.for_backend(chosen.filters.as_ref(), headers);
        if let Some(answer) = filters.answer(&filters::asked(incoming)) {
            return Ok(Way::Answered(answer.map(|()| Body::Empty)));
        }
    }
    let backend = if target.service == service.model.name {
        service.clone()
    } else {
        discover::by_name(worker, &target.service).await?
    };
    let plan = Plan {
        target: backend,
        port: target.port,
        treatment: treatment.clone(),
        only: None,
    };
    Ok(onward(plan, service, filters))
}

/// Our own application's words about requests and traces count.
fn onward(plan: Plan, service: &Arc<ServiceEntry>, filters: Chain) -> Way {
    Way::Onward(Routed {
        plan,
        service: service.clone(),
        filters,
        caller: Caller::Trusted,
    })
}

/// The request as attempts will send it, how long they may take, and its copies for mirrors.
fn prepare(
    worker: &Rc<Worker>,
    incoming: &mut Request<Body>,
    routed: &Routed,
    record: &mut Record,
) -> Result<(Outgoing, Copies), ProxyError> {
    let policy = &routed.plan.treatment.policy;
    let (mut head, mut body) = take(incoming).into_parts();
    headers::remove_hop_by_hop(&mut head.headers);
    // What our own application may say in our words: how much time it has, and how often this was tried.
    headers::remove_ours(&mut head.headers, &[DEADLINE, ATTEMPT]);
    // Of what goes on: an idempotency key that its receiver never sees vouches for nothing.
    let mut traits = RequestTraits::of(&policy.retry, &head.method, head.uri.path(), &head.headers);
    // Whatever its method: what an application began for an upgrade that failed is not known to be harmless.
    if head.extensions.get::<Offer>().is_some() {
        (traits.idempotent, traits.vouched) = (false, false);
        record.tcp_bytes = Some(routed.plan.target.metrics.tcp_bytes.clone());
    }
    let deadline = deadline::of(&head.headers, routed, traits, record);
    if deadline == Deadline::Expired {
        return Err(ProxyError::DeadlineExpired);
    }
    trace::trace(worker, &mut head.headers, routed.caller, record);
    let mut outgoing = Outgoing {
        head,
        before_backend: None,
        body: None,
        traits,
        deadline,
    };
    let mut copies = Copies::default();
    if !routed.filters.is_empty() {
        filters::edit(&mut outgoing, routed)?;
        (body, copies) = mirror::prepare(worker, routed, &outgoing, body);
    }
    outgoing.body =
        (!body.is_end_stream()).then(|| Replay::new(body, policy.retry.replay_buffer_bytes));
    record.request = outgoing.body.clone();
    Ok((outgoing, copies))
}

/// May it go: the breaker's leave, and then a place among the requests in flight. In this order: an open breaker says
/// that the service is not to be asked, however full it still is of calls that hang, and that a fallback may answer.
fn admit(
    worker: &Worker,
    plan: &Plan,
    service: &Arc<ServiceEntry>,
    record: &mut Record,
) -> Result<(), ProxyError> {
    let Some(entry) = &plan.treatment.breaker else {
        record.settlement.place = Some(place(&plan.target)?);
        return Ok(());
    };
    let answer = entry
        .breaker
        .admit(worker.index, clock::now(), worker.random());
    if let Some(transition) = answer.transition {
        announce_breaker(worker, service, entry, transition);
    }
    match answer.admission {
        Admission::Admitted(permit) => {
            // Without one the permit goes back.
            record.settlement.place = Some(place(&plan.target)?);
            if permit.would_refuse() {
                let instead = fallback::instead_of_refusal(&plan.treatment.policy);
                entry.observed.add(worker.index, instead);
            }
            record
                .settlement
                .owe_breaker(permit, entry.clone(), service.clone());
            Ok(())
        }
        Admission::Refused { retry_after } => Err(ProxyError::BreakerOpen {
            service: service.model.name.clone(),
            retry_after,
        }),
    }
}

fn place(target: &ServiceEntry) -> Result<Place, ProxyError> {
    let most = target.model.policy.limits.max_concurrent_requests;
    let place = target.running.load.requests.enter(most);
    place.ok_or_else(|| ProxyError::Overflow {
        service: target.model.name.clone(),
        limit: Limit::ConcurrentRequests,
        most,
    })
}
