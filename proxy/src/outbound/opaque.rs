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
use tokio::{net::TcpStream, time::sleep};
use tracing::debug;
use usher_config::model::ServiceTarget;

use crate::{
    balance::{self, Attempt, AttemptOutcome, Observation, affinity},
    clock,
    error::{Flag, Limit, Processing, ProxyError},
    http::watched::Observer,
    policy::{
        limits::Places,
        retry::{self, AttemptFailure, Decision, RequestTraits},
    },
    snapshot::{PortEntry, ServiceEntry},
    tcp::{Stream, copy},
    telemetry::metrics::Direction,
    tls::Alpn,
    upstream::{connect, dial::Callee},
    worker::{Record, Worker, tell_endpoint},
};

use super::discover;

/// Where an opaque stream goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub target: ServiceTarget,
    /// The only endpoint that was meant.
    pub only: Option<SocketAddr>,
}

/// Carries one connection from our application to `target`.
pub async fn serve_tcp(worker: Rc<Worker>, stream: TcpStream, target: &ServiceTarget) {
    let target = target.clone();
    let destination = Destination { target, only: None };
    carry_bytes(worker, Stream::Plain(stream), &destination, None).await;
}

/// Carries one connection of `client` to `target`, where a gateway's `route` has led it.
pub async fn serve_stream(
    worker: Rc<Worker>,
    downstream: Stream,
    target: &ServiceTarget,
    (route, client): (Arc<str>, IpAddr),
) {
    let target = target.clone();
    let destination = Destination { target, only: None };
    carry_bytes(worker, downstream, &destination, Some((route, client))).await;
}

pub(super) async fn carry_bytes(
    worker: Rc<Worker>,
    mut downstream: Stream,
    destination: &Destination,
    from_outside: Option<(Arc<str>, IpAddr)>,
) {
    let mut record = Record::begin(&worker, Direction::Outbound, Method::CONNECT, "tcp");
    record.requests = Some(worker.handles.unrouted.clone());
    (record.route, record.client) = from_outside.unzip();
    match open(&worker, destination, &mut record).await {
        Ok(mut opened) => {
            let _open = worker.endpoint_connection();
            record.head(StatusCode::OK, &HeaderMap::new());
            let idle = opened.service.model.policy.timeouts.idle;
            let (copied, result) = copy(&mut downstream, &mut opened.stream, idle).await;
            let bytes = &opened.service.metrics.tcp_bytes;
            bytes.add_many(worker.index, "up", copied.from_downstream);
            bytes.add_many(worker.index, "down", copied.from_upstream);
            let ended = result.map_err(|end| {
                debug!(error = %end, "opaque stream broke off");
                connect::broke_off(&end, opened.endpoint, idle)
            });
            record.request_bytes = copied.from_downstream;
            record.end(copied.from_upstream, ended.as_ref().copied());
        }
        Err(error) => {
            debug!(%error, "opaque stream could not be opened");
            record.end(0, Err(&error));
        }
    }
}

struct Opened {
    stream: Stream,
    endpoint: SocketAddr,
    service: Arc<ServiceEntry>,
    _attempt: Attempt,
    _places: Places,
}

async fn open(
    worker: &Rc<Worker>,
    Destination { target, only }: &Destination,
    record: &mut Record,
) -> Result<Opened, ProxyError> {
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
        let mut pick = picked.map_err(|refusal| no_pick(refusal, target))?;
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
                return Ok(Opened {
                    stream,
                    endpoint,
                    service: service.clone(),
                    _attempt: pick.attempt,
                    _places: places,
                });
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
    if !endpoint.model.meshed {
        let stream = connect::plain(endpoint.model.address, limit).await?;
        return Ok((Stream::Plain(stream), endpoint.model.address, place));
    }
    let material = worker.shared.material.load_full();
    let count = |outcome| {
        worker
            .handles
            .handshakes_outbound
            .add(worker.index, outcome)
    };
    let (stream, peer) =
        connect::mesh(&callee.mesh_peer(), &material, Alpn::Tcp, limit, count).await?;
    record.destination = Some(peer.spiffe_id);
    Ok((stream, endpoint.model.address, place))
}

fn no_pick(refusal: balance::NoPick, target: &ServiceTarget) -> ProxyError {
    let service = target.service.clone();
    match refusal {
        balance::NoPick::NoEndpoint => ProxyError::NoEndpoint { service },
        balance::NoPick::AllFull => ProxyError::Overflow {
            service,
            limit: Limit::ConcurrentRequestsPerEndpoint,
        },
    }
}
