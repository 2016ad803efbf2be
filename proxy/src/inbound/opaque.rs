//! Opaque streams to our application: from another sidecar, or in plaintext where that is permitted.

use std::rc::Rc;

use http::{HeaderMap, Method, StatusCode};
use tracing::debug;
use usher_config::{model::Protocol, value::Port};

use crate::{
    clock,
    error::ProxyError,
    http::watched::Observer,
    policy::access::Access,
    snapshot::InboundEntry,
    tcp::{Copied, Stream, copy},
    telemetry::metrics::Direction,
    upstream::connect,
    worker::{Record, Worker},
};

use super::{CONNECT_MAX, caller::Caller, decide_access, declared, transport_allowed};

/// Carries one stream.
pub(super) async fn serve(worker: Rc<Worker>, mut downstream: Stream, caller: &Caller) {
    let mut record = Record::begin(&worker, Direction::Inbound, Method::CONNECT, "tcp");
    record.source = caller.identity.clone();
    record.requests = Some(caller.requests.clone());
    let result = carry(&worker, &mut downstream, caller, &mut record).await;
    match &result {
        Ok((copied, ended)) => record.end(copied.from_upstream, ended.as_ref().copied()),
        Err(error) => {
            debug!(%error, address = %caller.address, "opaque stream refused");
            record.end(0, Err(error));
        }
    }
}

async fn carry(
    worker: &Rc<Worker>,
    downstream: &mut Stream,
    caller: &Caller,
    record: &mut Record,
) -> Result<(Copied, Result<(), ProxyError>), ProxyError> {
    let workload = worker.snapshot().workload().cloned();
    let workload = workload.ok_or(ProxyError::Internal {
        what: "inbound stream before any policy",
    })?;
    record.service = Some(workload.label.clone());
    transport_allowed(&workload, caller)?;
    let service = || workload.policy.service.clone();
    let port = caller.port.ok_or_else(|| ProxyError::NoSuchPort {
        service: service(),
        port: None,
    })?;
    if speaks_http(&workload, port) {
        return Err(ProxyError::InvalidRequest {
            reason: "port-speaks-http",
        });
    }
    decide_access(
        worker,
        &workload,
        &Access {
            caller: caller.identity.as_ref(),
            port,
            http: None,
        },
    )?;
    let address = worker.application.ok_or(ProxyError::Internal {
        what: "inbound without an application",
    })?;
    record.attempt(address, clock::now());
    let _open = worker.application_connection();
    let mut upstream = Stream::Plain(connect::plain(address, CONNECT_MAX).await?);
    record.head(StatusCode::OK, &HeaderMap::new());
    let (copied, result) = copy(downstream, &mut upstream, workload.policy.idle).await;
    workload
        .tcp_bytes
        .add_many(worker.index, "up", copied.from_downstream);
    workload
        .tcp_bytes
        .add_many(worker.index, "down", copied.from_upstream);
    let ended = result.map_err(|end| {
        debug!(error = %end, "opaque stream broke off");
        connect::broke_off(&end, address, workload.policy.idle)
    });
    Ok((copied, ended))
}

/// Through an opaque stream HTTP would reach the application with every header that its sender likes to
/// claim (`x-forwarded-client-cert`), and past every rule on methods and paths.
fn speaks_http(workload: &InboundEntry, port: Port) -> bool {
    match declared(workload, port) {
        Some(Protocol::Http1 | Protocol::Http2 | Protocol::Grpc) => true,
        Some(Protocol::Tcp | Protocol::Detect) | None => false,
    }
}
