//! Opaque streams: to the port of a service that a local listener stands for, or that was dialled.
//!
//! There is no request to repeat and none to judge: the endpoint's verdict is whether the connection comes
//! about, and connections that do not are tried elsewhere, because no byte has gone yet.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, Method, StatusCode};
use smallvec::SmallVec;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::debug;
use usher_config::model::ServiceTarget;

use crate::{
    balance::{self, Attempt, AttemptOutcome, Observation, affinity},
    clock,
    detect::server,
    error::{Flag, Processing, ProxyError},
    http::watched::Observer,
    policy::{
        limits::Places,
        retry::{self, AttemptFailure, Decision, RequestTraits},
    },
    snapshot::{PortEntry, ServiceEntry},
    tcp::{Looked, Stream, copy},
    telemetry::metrics::Direction,
    tls::{Alpn, origin::Inside},
    upstream::{call::no_pick, connect, dial::Callee},
    worker::{Record, Worker, tell_endpoint},
};

use super::{
    discover,
    streams::{self, Destination, Way},
};

/// Carries one connection from our application to `target`, or where the routes of that service's port lead it.
pub async fn serve_tcp(worker: Rc<Worker>, stream: TcpStream, target: &ServiceTarget) {
    match discover::by_name(&worker, &target.service).await {
        Ok(service) => {
            let target = target.clone();
            let destination = Destination { target, only: None };
            streams::serve(worker, stream, service, destination).await;
        }
        Err(error) => {
            let way = Way::straight(Err(error));
            carry_bytes(worker, Stream::Plain(stream), &way).await;
        }
    }
}

/// Carries one connection of `client` to `target`, where a gateway's `route` has led it.
pub async fn serve_stream(
    worker: Rc<Worker>,
    downstream: Stream,
    target: &ServiceTarget,
    (route, client): (Arc<str>, IpAddr),
) {
    let target = target.clone();
    let way = Way {
        route: Some(route),
        client: Some(client),
        ..Way::straight(Ok(Destination { target, only: None }))
    };
    carry_bytes(worker, downstream, &way).await;
}

pub(super) async fn carry_bytes(worker: Rc<Worker>, downstream: Stream, way: &Way) {
    let mut record = begin(&worker, way);
    let opened = match &way.to {
        Ok(destination) => open(&worker, destination, &mut record).await,
        Err(error) => Err(error.clone()),
    };
    match opened {
        Ok((upstream, opened)) => relay(&worker, (downstream, upstream), opened, record).await,
        Err(error) => {
            debug!(%error, "opaque stream could not be opened");
            // Its end would be a whole answer without a byte.
            downstream.reset_on_close();
            record.end(0, Err(&error));
        }
    }
}

/// Speaks for a connection that is gone already, if it had no way.
pub(super) fn refused(worker: &Rc<Worker>, way: &Way) {
    if let Err(error) = &way.to {
        debug!(%error, "opaque stream refused");
        begin(worker, way).end(0, Err(error));
    }
}

fn begin(worker: &Rc<Worker>, way: &Way) -> Record {
    let mut record = Record::begin(worker, Direction::Outbound, Method::CONNECT, "tcp");
    record.requests = Some(worker.handles.unrouted.clone());
    if let Some(service) = &way.meant {
        service.mark_used();
        record.service = Some(service.label.clone());
        record.requests = Some(service.treatment.requests.clone());
    }
    record.route = way.route.clone();
    record.authority = way.host.clone();
    record.client = way.client;
    record
}

/// A stream that was opened before it was known that there will be one. Dropped, nothing has happened.
pub(super) struct Ahead {
    opened: Opened,
    /// What the called one has said.
    called: Looked,
    record: Tentative,
}

impl Ahead {
    /// There is to be one.
    pub(super) async fn carry(mut self, worker: &Rc<Worker>, downstream: Stream) {
        if let Some(record) = self.record.0.take() {
            let streams = (downstream, self.called.into_stream());
            relay(worker, streams, self.opened, record).await;
        }
    }
}

/// The record of what may turn out not to have happened.
struct Tentative(Option<Record>);

impl Drop for Tentative {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            record.retract();
        }
    }
}

/// Opens a stream along `way` for a caller who has not said anything yet, and returns as soon as the called one has
/// said what no HTTP server says first. The stream stays in `ahead` whoever spoke first; where none can be opened, it is
/// the caller's turn.
pub(super) async fn speaks_first(worker: &Rc<Worker>, way: &Way, ahead: &mut Option<Ahead>) {
    let Ok(destination) = &way.to else {
        return std::future::pending().await;
    };
    sleep(server::CALLER_FIRST).await;
    let mut record = Tentative(Some(begin(worker, way)));
    let Some(writable) = &mut record.0 else {
        return;
    };
    match open(worker, destination, writable).await {
        Ok((upstream, opened)) => {
            let called = Looked::new(upstream);
            let ahead = ahead.insert(Ahead {
                opened,
                called,
                record,
            });
            says_no_http(&mut ahead.called).await;
        }
        Err(error) => {
            debug!(%error, "no stream could be opened ahead of the caller's first words");
            drop(record);
            std::future::pending().await
        }
    }
}

/// Returns when the called one has said so, or has ended.
async fn says_no_http(called: &mut Looked) {
    loop {
        let more = match called.seen() {
            [] => called.more().await,
            // Half a frame's head: the rest follows at once, or this is no HTTP/2.
            _ => timeout(server::REST_FOLLOWS, called.more())
                .await
                .unwrap_or(Ok(0)),
        };
        match (more, server::is_first_of_http(called.seen())) {
            (Ok(0) | Err(_), _) | (Ok(_), Some(false)) => return,
            (Ok(_), Some(true)) => return std::future::pending().await,
            (Ok(_), None) => {}
        }
    }
}

async fn relay(
    worker: &Rc<Worker>,
    (mut downstream, mut upstream): (Stream, Stream),
    opened: Opened,
    mut record: Record,
) {
    let _open = worker.endpoint_connection();
    record.head(StatusCode::OK, &HeaderMap::new());
    let began = clock::now();
    let idle = opened.service.model.policy.timeouts.idle;
    let (copied, result) = copy(&mut downstream, &mut upstream, idle, &worker.scratch).await;
    let bytes = &opened.service.metrics.tcp_bytes;
    bytes.add_many(worker.index, "up", copied.from_downstream);
    bytes.add_many(worker.index, "down", copied.from_upstream);
    let ended = result.map_err(|end| {
        debug!(error = %end, "opaque stream broke off");
        let lasted = clock::now().since(began);
        match record.destination {
            Some(_) => {
                let carried = (&copied, lasted);
                connect::refused_or_broke_off(&end, opened.endpoint, idle, carried)
            }
            None => connect::broke_off(&end, opened.endpoint, idle),
        }
    });
    if let Err(ProxyError::NotTaken { .. }) = ended {
        record.no_head();
    }
    record.request_bytes = copied.from_downstream;
    record.end(copied.from_upstream, ended.as_ref().copied());
}

struct Opened {
    endpoint: SocketAddr,
    service: Arc<ServiceEntry>,
    _attempt: Attempt,
    _places: Places,
}

async fn open(
    worker: &Rc<Worker>,
    Destination { target, only }: &Destination,
    record: &mut Record,
) -> Result<(Stream, Opened), ProxyError> {
    let service = discover::by_name(worker, &target.service).await?;
    service.mark_used();
    record.service = Some(service.label.clone());
    record.requests = Some(service.treatment.requests.clone());
    let no_port = || ProxyError::NoSuchPort {
        service: target.service.clone(),
        port: Some(target.port),
        known: service.port_numbers(),
    };
    let port = service.port(target.port).ok_or_else(no_port)?;
    let budget = &service.treatment.budget;
    budget.deposit(worker.index, clock::now());
    let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
    let mut dialled = 0;
    loop {
        let began = clock::now();
        // Opaque streams have nothing to be kept together by but who calls.
        let by = &service.model.policy.load_balancer.hash;
        let key = affinity::key(by, &HeaderMap::new(), "", record.caller());
        let chance = key.unwrap_or_else(|| worker.random());
        let picked = match only {
            Some(address) => exactly(&service, port, *address),
            None => balance::choose(&port.group, began, chance, &tried),
        };
        let mut pick = picked.map_err(|refusal| no_pick(refusal, &service))?;
        tried.push(pick.position);
        let result = connect(worker, &service, port, pick.position, record).await;
        let now = clock::now();
        let outcome = match &result {
            Ok(_) => AttemptOutcome::Success,
            Err(ProxyError::Overflow { .. }) => AttemptOutcome::Ignored,
            Err(_) => AttemptOutcome::Failure { retry_after: None },
        };
        let seen = Observation {
            outcome,
            response_time: now.since(began),
            now,
            random: worker.random(),
        };
        tell_endpoint(worker, &service, &mut pick.attempt, &seen);
        match result {
            Ok((stream, endpoint, places)) => {
                let opened = Opened {
                    endpoint,
                    service: service.clone(),
                    _attempt: pick.attempt,
                    _places: places,
                };
                return Ok((stream, opened));
            }
            Err(error)
                if only.is_none()
                    && error.endpoint_is_full()
                    && tried.len() < port.group.eligible() => {}
            Err(error) if error.processing() == Processing::Unknown || only.is_some() => {
                return Err(error);
            }
            Err(error) => {
                dialled += 1;
                let Some(wait) = wait_before_dialling(worker, &service, dialled, record) else {
                    return Err(error);
                };
                debug!(%error, "trying another endpoint");
                sleep(wait).await;
            }
        }
    }
}

/// Before another endpoint is dialled after so many; `None`: none is. No byte has gone: what holds for a request that
/// was provably not processed holds here, budget and backoff included. A database that is down is not to be dialled
/// three times as often.
fn wait_before_dialling(
    worker: &Worker,
    service: &ServiceEntry,
    dialled: u32,
    record: &mut Record,
) -> Option<Duration> {
    let failed = retry::Attempt {
        traits: RequestTraits::OPAQUE,
        number: dialled,
        failure: AttemptFailure::ProvablyUnprocessed,
        body_replayable: true,
        trial: false,
        remaining: None,
    };
    let retries = &service.metrics.retries;
    match retry::decide(&service.model.policy.retry, &failed, worker.random()) {
        Decision::Retry { after } if service.treatment.budget.withdraw(clock::now()) => {
            retries.add(worker.index, "retried");
            Some(after)
        }
        Decision::Retry { .. } => {
            retries.add(worker.index, "budget_spent");
            record.flags.set(Flag::Rb);
            None
        }
        Decision::GiveUp(reason) => {
            retries.add(worker.index, reason.as_str());
            None
        }
    }
}

fn exactly(
    service: &ServiceEntry,
    port: &PortEntry,
    address: SocketAddr,
) -> Result<balance::Pick, balance::NoPick> {
    let mut endpoints = service.endpoints.iter();
    let position = endpoints.position(|endpoint| endpoint.model.address == address);
    balance::exactly(&port.group, position.ok_or(balance::NoPick::NoEndpoint)?)
}

async fn connect(
    worker: &Rc<Worker>,
    service: &Arc<ServiceEntry>,
    port: &PortEntry,
    position: usize,
    record: &mut Record,
) -> Result<(Stream, SocketAddr, Places), ProxyError> {
    let lost = ProxyError::Internal {
        what: "chosen endpoint is not in its snapshot",
    };
    let endpoint = service.endpoints.get(position).ok_or(lost)?;
    let limit = service.model.policy.timeouts.connect;
    let callee = Callee {
        service,
        port,
        endpoint,
        connect: limit,
    };
    let place = callee.connection_place()?;
    record.attempt(endpoint.model.address, clock::now());
    let count = |outcome| worker.count_handshake(outcome);
    if let Some(origin) = &port.tls {
        let address = endpoint.model.address;
        let stream = connect::origin(address, origin, Inside::Bytes, limit, count).await?;
        return Ok((stream, address, place));
    }
    if !endpoint.model.meshed {
        let stream = connect::plain(endpoint.model.address, limit).await?;
        return Ok((Stream::Plain(stream), endpoint.model.address, place));
    }
    let material = worker.shared.material.load_full();
    let (stream, peer) =
        connect::mesh(&callee.mesh_peer(), &material, Alpn::Tcp, limit, count).await?;
    record.destination = Some(peer.spiffe_id);
    Ok((stream, endpoint.model.address, place))
}
