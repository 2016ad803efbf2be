//! Opaque streams to our application: from another sidecar, or in plaintext where that is permitted.
//!
//! A port that declares HTTP takes none. On a port that declares nothing the first bytes decide before any of
//! them reaches the application: HTTP goes the way of HTTP, because through an opaque stream it would arrive with
//! every header that its sender likes to claim (`x-forwarded-client-cert`), and past every rule on methods and paths.

use std::{rc::Rc, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;
use usher_config::{
    model::Protocol,
    value::{Port, ServiceName},
};

use crate::{
    clock,
    detect::{
        parser::{Detected, detect_as_a_server_may},
        server,
    },
    error::ProxyError,
    guard::needs_no_token,
    http::watched::Observer,
    policy::access::{self, Access},
    snapshot::InboundEntry,
    tcp::{Looked, Stream, copy},
    telemetry::metrics::Direction,
    upstream::connect,
    worker::{Record, UpstreamConnection, Worker},
};

use super::{
    CONNECT_MAX, OPAQUE_WAIT_MAX,
    application::declared,
    caller::{Caller, Meant, no_such_port},
    decide_access, serve_http1, serve_http2, transport_allowed,
};

/// Connects to our application for a plaintext caller of whom nothing is known yet, and returns as soon as it has spoken.
/// The connection stays in `application` whoever spoke first.
pub(super) async fn speaks_first(
    worker: &Worker,
    meant: &Meant,
    application: &mut Option<Application>,
) {
    sleep(server::CALLER_FIRST).await;
    if let Some(address) = meant.application
        && let Ok(stream) = connect::plain(address, CONNECT_MAX).await
    {
        let open = worker.application_connection();
        let application = application.insert(Application { stream, open });
        return server::speaks_first(&application.stream).await;
    }
    std::future::pending().await
}

/// Whether bytes of a plaintext caller of whom nothing is known yet may reach our application.
pub(super) fn takes_opaque_plaintext(worker: &Worker, meant: &Meant) -> bool {
    let snapshot = worker.snapshot();
    let Some(workload) = snapshot.workload() else {
        return false;
    };
    let Some(port) = meant.port else {
        return false;
    };
    let asked = Access {
        caller: None,
        port,
        http: None,
    };
    matches!(
        declared(workload, port),
        Some(Protocol::Tcp | Protocol::Detect)
    ) && access::transport_allowed(workload.policy.mtls, None)
        && access::decide(&workload.policy.access, &asked)
            .denied_by
            .is_none()
}

/// Serves one connection; `ahead`: to our application, if there is one already.
pub(super) async fn serve(
    worker: Rc<Worker>,
    downstream: Stream,
    caller: Rc<Caller>,
    ahead: Option<Application>,
) {
    let mut record = Record::begin(&worker, Direction::Inbound, Method::CONNECT, "tcp");
    record.source = caller.identity.clone();
    record.source_service = caller.service.clone();
    record.requests = Some(caller.requests.clone());
    let mut downstream = Looked::new(downstream);
    match open(&worker, &mut downstream, &caller, ahead, &mut record).await {
        Ok(Opened::Opaque(opaque)) => {
            relay(&worker, downstream.into_stream(), *opaque, &mut record).await;
        }
        Ok(Opened::Http1) => {
            record.retract();
            serve_http1(worker, downstream.into_stream(), caller).await;
        }
        Ok(Opened::Http2) => {
            record.retract();
            serve_http2(worker, downstream.into_stream(), caller).await;
        }
        Err(error) => {
            debug!(%error, address = %caller.address, "opaque stream refused");
            // Its end would be a whole answer without a byte.
            downstream.reset_on_close();
            record.end(0, Err(&error));
        }
    }
}

/// What the caller wants, as far as it may have it.
enum Opened {
    Opaque(Box<Opaque>),
    Http1,
    Http2,
}

struct Opaque {
    application: Application,
    workload: std::sync::Arc<InboundEntry>,
}

/// Our application's end, counted while it is open.
pub(super) struct Application {
    stream: TcpStream,
    open: UpstreamConnection,
}

async fn open(
    worker: &Rc<Worker>,
    downstream: &mut Looked,
    caller: &Caller,
    mut application: Option<Application>,
    record: &mut Record,
) -> Result<Opened, ProxyError> {
    let workload = worker.snapshot().workload().cloned();
    let workload = workload.ok_or(ProxyError::Internal {
        what: "inbound stream before any policy",
    })?;
    record.service = Some(workload.label.clone());
    transport_allowed(&workload, caller)?;
    let port = caller.port.ok_or_else(|| no_such_port(&workload))?;
    let asked = Access {
        caller: caller.identity.as_ref(),
        port,
        http: None,
    };
    let protocol = declared(&workload, port);
    if is_http(protocol) {
        return Err(speaks_http(&workload.policy.service, port));
    }
    let tokens = workload.tokens.as_deref();
    let allowed = decide_access(worker, &workload, &asked).and_then(|()| needs_no_token(tokens));
    match protocol {
        Some(Protocol::Http1 | Protocol::Http2 | Protocol::Grpc | Protocol::Tcp) => {}
        Some(Protocol::Detect) | None => {
            // Rules on methods and paths refuse opaque bytes, but not yet what may turn out to be HTTP.
            if allowed.is_ok() {
                application = Some(connected(worker, caller, application, record).await?);
            }
            let said_first = application.as_ref().map(|application| &application.stream);
            match first_words(downstream, said_first, workload.policy.idle).await? {
                Words::Http1 => return Ok(Opened::Http1),
                Words::Http2 => return Ok(Opened::Http2),
                Words::Opaque => {}
            }
        }
    }
    allowed?;
    let application = connected(worker, caller, application, record).await?;
    Ok(Opened::Opaque(Box::new(Opaque {
        application,
        workload,
    })))
}

/// Whether the port that is meant declares HTTP.
pub(super) fn is_http_only(worker: &Worker, meant: &Meant) -> bool {
    let snapshot = worker.snapshot();
    let workload = snapshot.workload().zip(meant.port);
    is_http(workload.and_then(|(workload, port)| declared(workload, port)))
}

fn is_http(declared: Option<Protocol>) -> bool {
    matches!(
        declared,
        Some(Protocol::Http1 | Protocol::Http2 | Protocol::Grpc)
    )
}

fn speaks_http(service: &ServiceName, port: Port) -> ProxyError {
    debug!(%service, %port, "opaque bytes for a port that declares HTTP");
    ProxyError::InvalidRequest {
        reason: "port-speaks-http",
    }
}

async fn connected(
    worker: &Worker,
    caller: &Caller,
    ahead: Option<Application>,
    record: &mut Record,
) -> Result<Application, ProxyError> {
    let address = caller.application.ok_or(ProxyError::Internal {
        what: "inbound without an application",
    })?;
    if record.attempts == 0 {
        record.attempt(address, clock::now());
    }
    if let Some(application) = ahead {
        return Ok(application);
    }
    let stream = connect::plain(address, CONNECT_MAX).await?;
    let open = worker.application_connection();
    Ok(Application { stream, open })
}

async fn relay(
    worker: &Rc<Worker>,
    mut downstream: Stream,
    Opaque {
        application,
        workload,
    }: Opaque,
    record: &mut Record,
) {
    let Application {
        stream,
        open: _open,
    } = application;
    let mut upstream = Stream::Plain(stream);
    record.head(StatusCode::OK, &HeaderMap::new());
    let idle = workload.policy.idle;
    let (copied, result) = copy(&mut downstream, &mut upstream, idle, &worker.scratch).await;
    let bytes = &workload.tcp_bytes;
    bytes.add_many(worker.index, "up", copied.from_downstream);
    bytes.add_many(worker.index, "down", copied.from_upstream);
    record.request_bytes = copied.from_downstream;
    let ended = result.map_err(|end| {
        debug!(error = %end, "opaque stream broke off");
        match record.upstream {
            Some(address) => connect::broke_off(&end, address, idle),
            None => ProxyError::DownstreamGone,
        }
    });
    record.end(copied.from_upstream, ended.as_ref().copied());
}

/// What a stream to a port that declares nothing turns out to carry.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    Http1,
    Http2,
    Opaque,
}

/// A line that is longer and still might be a request's is refused: no protocol of words has such lines.
const FIRST_LINE_MAX: usize = 8 * 1024;

/// Waits for whoever speaks first. `application`: connected already, if opaque bytes may reach it at all.
async fn first_words(
    downstream: &mut Looked,
    application: Option<&TcpStream>,
    idle: Option<Duration>,
) -> Result<Words, ProxyError> {
    // It may be the application's turn: that wait is bounded as for any opaque stream without a byte.
    let silent = match application {
        Some(_) => idle,
        None => Some(OPAQUE_WAIT_MAX),
    };
    let mut until = silent.map(|silent| Instant::now() + silent);
    let undecided = ProxyError::InvalidRequest {
        reason: "protocol-undecided",
    };
    loop {
        let late = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            more = downstream.more() => {
                let more = more.map_err(|_| ProxyError::DownstreamGone)?;
                if more == 0 {
                    return Ok(Words::Opaque);
                }
                let seen = downstream.seen();
                match detect_as_a_server_may(seen) {
                    Detected::Http1 => return Ok(Words::Http1),
                    Detected::Http2Preface => return Ok(Words::Http2),
                    Detected::Tls | Detected::Unknown => return Ok(Words::Opaque),
                    Detected::NeedMore if seen.len() > FIRST_LINE_MAX => return Err(undecided),
                    // Still the beginning of a line: waiting longer, or a byte at a time, must not be a way around.
                    Detected::NeedMore if seen.len() == more => {
                        until = Some(Instant::now() + OPAQUE_WAIT_MAX);
                    }
                    Detected::NeedMore => {}
                }
            }
            () = speaks(application), if downstream.seen().is_empty() => return Ok(Words::Opaque),
            () = late => return match (downstream.seen(), application) {
                ([], None) => Ok(Words::Opaque),
                ([], Some(_)) => Err(ProxyError::StreamIdle { limit: idle.unwrap_or_default() }),
                (_, _) => Err(undecided),
            },
        }
    }
}

async fn speaks(application: Option<&TcpStream>) {
    match application {
        Some(application) => server::speaks_first(application).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
