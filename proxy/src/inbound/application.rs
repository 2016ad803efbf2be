//! One exchange with our own application: in which protocol, and when a second try cannot hurt.

use std::{mem::take, pin::pin, rc::Rc, time::Duration};

use http::{Request, Response};
use http_body::Body as _;
use tracing::debug;
use usher_config::{model::Protocol, value::Port};

use crate::{
    clock,
    error::ProxyError,
    http::{Body, Replay, silence, upgrade::Offer},
    policy::retry::is_idempotent,
    pool::Key,
    snapshot::{APPLICATION, InboundEntry},
    upstream::dial::{Application, Version, with_application},
    worker::{Record, Worker},
};

use super::{CONNECT_MAX, caller::Caller};

/// The port's declared protocol; undeclared, what the request itself needs.
pub(super) fn version(workload: &InboundEntry, caller: &Caller, grpc: bool) -> Version {
    match caller.port.and_then(|port| declared(workload, port)) {
        Some(Protocol::Http2 | Protocol::Grpc) => Version::Http2,
        Some(Protocol::Http1 | Protocol::Tcp) => Version::Http1,
        Some(Protocol::Detect) | None if grpc => Version::Http2,
        Some(Protocol::Detect) | None => Version::Http1,
    }
}

/// What is spoken on a port, as far as its service says.
pub(super) fn declared(workload: &InboundEntry, port: Port) -> Option<Protocol> {
    let mut ports = workload.policy.ports.iter();
    ports
        .find(|(declared, _)| *declared == port)
        .map(|(_, protocol)| *protocol)
}

/// How our application is asked.
pub(super) struct Asked<'a> {
    /// On whose behalf.
    pub caller: &'a Caller,
    /// In which protocol.
    pub version: Version,
    /// For how long without a byte of the request; `None`: its deadline is shorter, or there is no bound.
    pub idle: Option<Duration>,
}

/// One exchange with our application; a second one if the first provably did not reach it.
pub(super) async fn call(
    worker: &Rc<Worker>,
    incoming: &mut Request<Body>,
    asked: Asked<'_>,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let address = asked.caller.application.ok_or(ProxyError::Internal {
        what: "inbound without an application",
    })?;
    let key = Key {
        endpoint: APPLICATION,
        port: address.port(),
        upgrades: incoming.extensions().get::<Offer>().is_some(),
    };
    let application = Application {
        address,
        key,
        version: asked.version,
        connect: CONNECT_MAX,
        tls: None,
    };
    let (head, body) = take(incoming).into_parts();
    let idempotent = is_idempotent(&head.method);
    let body = (!body.is_end_stream()).then(|| Replay::new(body, REPLAY_MAX));
    record.request = body.clone();
    let mut again = Some(head.clone());
    let mut request = Request::from_parts(head, Body::Empty);
    let mut earlier = None;
    loop {
        if let Some(replay) = &body {
            match replay.attempt() {
                Some(body) => *request.body_mut() = Body::Replay(body),
                None => break,
            }
        }
        record.attempt(address, clock::now());
        let open = || Ok((worker.application_connection(), ()));
        let result = {
            let (idle, passed) = (asked.idle, record.request.as_ref());
            let (sent, interim) = (&mut request, &record.interim);
            let to = application.clone();
            let exchange = pin!(with_application(worker, to, open, sent, interim));
            silence::unless_idle(exchange, idle, passed).await
        };
        match (result, again.take()) {
            (Err(error), Some(head)) if is_stale_connection(&error, idempotent) => {
                debug!(%error, "application closed an idle connection; asking again");
                earlier = Some(error);
                request = Request::from_parts(head, Body::Empty);
            }
            (result, _) => {
                // Nothing will be said twice any more: what was kept for it can go.
                if let Some(replay) = &record.request {
                    replay.release();
                }
                return result.map_err(|error| either(earlier, error));
            }
        }
    }
    Err(earlier.unwrap_or(ProxyError::Internal {
        what: "a body that nobody has read is gone",
    }))
}

/// A repeat that came nowhere changes nothing about what the first may have done.
fn either(earlier: Option<ProxyError>, error: ProxyError) -> ProxyError {
    match earlier {
        Some(earlier) if !earlier.is_unprocessed() && error.is_unprocessed() => earlier,
        Some(_) | None => error,
    }
}

/// For the one repeat that a stale connection may cost.
const REPLAY_MAX: usize = 64 * 1024;

fn is_stale_connection(error: &ProxyError, idempotent: bool) -> bool {
    match error {
        ProxyError::UpstreamReset { .. } => error.is_unprocessed(),
        ProxyError::IdleRace { .. } => idempotent,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
