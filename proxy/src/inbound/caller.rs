//! Who is on the other end of a connection, found out once and used by all its requests.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use http::HeaderValue;
use usher_config::value::{Port, SpiffeId};

use crate::{
    telemetry::metrics::{Direction, Requests},
    tls::PeerIdentity,
    worker::Worker,
};

/// A caller's connection.
pub(super) struct Caller {
    /// Verified; `None`: plaintext.
    pub identity: Option<SpiffeId>,
    /// `namespace/service-account`, for the log.
    pub service: Option<Arc<str>>,
    /// Which of our ports is meant; `None`: we declare none that fits.
    pub port: Option<Port>,
    /// `x-forwarded-client-cert`, as this connection's requests get it.
    pub certificate: Option<HeaderValue>,
    /// Counts its requests.
    pub requests: Requests,
    /// Its address.
    pub address: SocketAddr,
}

impl Caller {
    /// Another sidecar.
    pub(super) fn mesh(
        worker: &Worker,
        peer: &PeerIdentity,
        sni: Option<&str>,
        address: SocketAddr,
    ) -> Rc<Self> {
        Rc::new(Self {
            port: port_of_sni(worker, sni),
            certificate: certificate(worker, peer),
            requests: requests(worker, peer.spiffe_id.as_str()),
            service: Some(account(&peer.spiffe_id)),
            identity: Some(peer.spiffe_id.clone()),
            address,
        })
    }

    /// Somebody in plaintext: nothing they say about themselves counts.
    pub(super) fn plaintext(worker: &Worker, address: SocketAddr) -> Rc<Self> {
        let snapshot = worker.snapshot();
        let port = snapshot.inbound().and_then(|policy| policy.ports.first());
        Rc::new(Self {
            identity: None,
            service: None,
            port: port.map(|(port, _)| *port),
            certificate: None,
            requests: requests(worker, "plaintext"),
            address,
        })
    }
}

fn account(identity: &SpiffeId) -> Arc<str> {
    let SpiffeId {
        namespace,
        service_account,
        ..
    } = identity;
    format!("{namespace}/{service_account}").into()
}

fn requests(worker: &Worker, peer: &str) -> Requests {
    let metrics = &worker.shared.metrics;
    metrics.requests(Direction::Inbound, &worker.own, "", peer)
}

/// The SNI picks only among the ports that this workload declares.
fn port_of_sni(worker: &Worker, sni: Option<&str>) -> Option<Port> {
    let asked: Port = sni?.split('.').next()?.parse().ok()?;
    let snapshot = worker.snapshot();
    let declared = &snapshot.inbound()?.ports;
    declared
        .iter()
        .map(|(port, _)| *port)
        .find(|port| *port == asked)
}

/// Envoy's format: who we are, and the caller's certificate and name.
fn certificate(worker: &Worker, peer: &PeerIdentity) -> Option<HeaderValue> {
    let material = worker.shared.material.load();
    let (us, hash, them) = (
        material.spiffe_id(),
        &peer.certificate_sha256,
        &peer.spiffe_id,
    );
    HeaderValue::try_from(format!("By={us};Hash={hash};URI={them}")).ok()
}
