//! Who is on the other end of a connection, found out once and used by all its requests.

use std::{
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

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
    /// Where our application gets its requests; `None`: the workload only calls.
    pub application: Option<SocketAddr>,
    /// `x-forwarded-client-cert`, as this connection's requests get it.
    pub certificate: Option<HeaderValue>,
    /// Counts its requests.
    pub requests: Requests,
    /// Its address.
    pub address: SocketAddr,
}

/// Which port a plaintext caller means.
pub(super) struct Meant {
    /// Of the service's; `None`: none of them. What is not declared is not reached.
    pub port: Option<Port>,
    /// Where our application has it; `None`: the workload only calls.
    pub application: Option<SocketAddr>,
}

impl Meant {
    /// By where the connection was going, if the kernel handed it over: the number dialled is the application's, and
    /// the service's port of the same number. Where that is none of the service's, the port that we were told at start
    /// is the application's for all of them and stands for the first, as it does for who called us directly.
    pub(super) fn by(worker: &Worker, destination: Option<SocketAddr>) -> Self {
        let snapshot = worker.snapshot();
        let declared = snapshot.inbound().map_or(&[][..], |policy| &policy.ports);
        let first = declared.first().map(|(port, _)| *port);
        let Some(number) = destination.map(|destination| destination.port()) else {
            return Self {
                port: first,
                application: worker.application,
            };
        };
        let mut ports = declared.iter().map(|(port, _)| *port);
        let told = worker.application.map(|address| address.port());
        let fallback = first.filter(|_| told == Some(number));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        Self {
            port: ports.find(|port| port.get() == number).or(fallback),
            application: worker.application.map(|_| local),
        }
    }
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
            // Wherever it was going: access was decided for the port that the SNI names, and for no other.
            application: worker.application,
            certificate: certificate(worker, peer),
            requests: requests(worker, peer.spiffe_id.as_str()),
            service: Some(account(&peer.spiffe_id)),
            identity: Some(peer.spiffe_id.clone()),
            address,
        })
    }

    /// Somebody in plaintext: nothing they say about themselves counts.
    pub(super) fn plaintext(worker: &Worker, address: SocketAddr, meant: &Meant) -> Rc<Self> {
        Rc::new(Self {
            identity: None,
            service: None,
            port: meant.port,
            application: meant.application,
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
