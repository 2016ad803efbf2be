//! Who is on the other end of a connection, found out once and used by all its requests.

use std::{
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use http::{HeaderValue, Request};
use smallvec::SmallVec;
use usher_config::value::{Port, SpiffeId};

use crate::{
    callers::{Calling, Who},
    error::ProxyError,
    guard::{Arrived, authenticated, strip_claims},
    http::{Body, unsaid},
    policy::rate_limit::Claims,
    snapshot::InboundEntry,
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
    /// Says who calls without the mesh's TLS; `None`: it does not.
    calling: Option<Calling>,
}

impl Caller {
    /// One of its requests, or it as a whole, is let in as far as mutual TLS goes.
    pub(super) fn is_let_in(&self) {
        if let Some(calling) = &self.calling {
            calling.let_in();
        }
    }

    /// The same, refused for want of it.
    pub(super) fn is_refused(&self) {
        if let Some(calling) = &self.calling {
            calling.refused();
        }
    }

    /// Whose token one of its requests has. What only we write claims into is taken away first: from a gateway of the mesh,
    /// which has verified a token before, what this sidecar writes itself; from anybody else all of it.
    pub(super) fn authenticated(
        &self,
        worker: &Worker,
        workload: &InboundEntry,
        request: &mut Request<Body>,
    ) -> Result<Option<Claims>, ProxyError> {
        let tokens = workload.tokens.as_deref();
        let gateways = &workload.policy.gateways;
        let is_gateway = (self.identity.as_ref()).is_some_and(|caller| gateways.contains(caller));
        let ours = match tokens {
            _ if !is_gateway => &workload.policy.claim_headers[..],
            Some(tokens) => tokens.authenticator.headers(),
            None => &[][..],
        };
        strip_claims(request.headers_mut(), ours);
        unsaid::in_trailers(request, &workload.claim_headers);
        authenticated(worker, tokens, request)
    }

    /// One of its requests, for limits.
    pub(super) fn arrived<'a>(
        &'a self,
        request: &'a Request<Body>,
        claims: Option<&'a Claims>,
    ) -> Arrived<'a> {
        Arrived {
            request,
            identity: self.identity.as_ref(),
            route: "",
            source: None,
            claims,
        }
    }
}

/// Which port a plaintext caller means.
pub(super) struct Meant {
    /// Of the service's; `None`: none of them. What is not declared is not reached.
    pub port: Option<Port>,
    /// Where our application has it; `None`: the workload only calls.
    pub application: Option<SocketAddr>,
}

impl Meant {
    /// By where the connection was going, if the kernel handed it over: the service's port of the number dialled. Where
    /// that is none of the service's, but the application's port that we were told at start, it stands for the first, as
    /// it does for who called us directly.
    pub(super) fn by(worker: &Worker, destination: Option<SocketAddr>) -> Self {
        let ports = Ports::of(worker);
        let port = match destination {
            None => ports.first,
            Some(destination) => ports.dialled(destination.port()),
        };
        Self {
            port,
            application: port.and_then(|port| ports.application(port)),
        }
    }
}

/// Which ports our service declares, and where our application has them.
struct Ports {
    declared: SmallVec<[Port; 4]>,
    first: Option<Port>,
    /// What we were told at start; `None`: the workload only calls.
    told: Option<SocketAddr>,
    /// The kernel hands us what is for any of the application's ports.
    transparent: bool,
}

impl Ports {
    fn of(worker: &Worker) -> Self {
        let snapshot = worker.snapshot();
        let declared = snapshot.inbound().map_or(&[][..], |policy| &policy.ports);
        Self {
            declared: declared.iter().map(|(port, _)| *port).collect(),
            first: declared.first().map(|(port, _)| *port),
            told: worker.application,
            transparent: worker.shared.intercepts_inbound,
        }
    }

    fn declared(&self, number: u16) -> Option<Port> {
        let mut declared = self.declared.iter();
        declared.find(|port| port.get() == number).copied()
    }

    fn dialled(&self, number: u16) -> Option<Port> {
        let is_told = self.told.is_some_and(|told| told.port() == number);
        self.declared(number).or(self.first.filter(|_| is_told))
    }

    /// Where the application has a declared port, however its caller came: what access was decided for is what is
    /// reached. Told one port at start, it has the first there; the others have their own numbers, since in transparent
    /// mode callers dial them. In explicit mode the one that we were told stands for all.
    fn application(&self, port: Port) -> Option<SocketAddr> {
        let told = self.told?;
        if !self.transparent || self.first == Some(port) || told.port() == port.get() {
            Some(told)
        } else {
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.get())))
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
        let ports = Ports::of(worker);
        // Wherever it was going: the port that the SNI names, and no other.
        let port = port_of_sni(sni).and_then(|asked| ports.declared(asked.get()));
        Rc::new(Self {
            port,
            application: port.and_then(|port| ports.application(port)),
            certificate: certificate(worker, peer),
            requests: requests(worker, peer.spiffe_id.as_str()),
            service: Some(account(&peer.spiffe_id)),
            identity: Some(peer.spiffe_id.clone()),
            address,
            calling: None,
        })
    }

    /// Somebody in plaintext: nothing they say about themselves counts.
    pub(super) fn plaintext(worker: &Worker, address: SocketAddr, meant: &Meant) -> Rc<Self> {
        let who = Who {
            address: address.ip().to_canonical(),
            port: meant.port,
        };
        Rc::new(Self {
            identity: None,
            service: None,
            port: meant.port,
            application: meant.application,
            certificate: None,
            requests: requests(worker, "plaintext"),
            address,
            calling: Some(worker.callers.call(who)),
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

/// It picks only among the ports that this workload declares.
fn port_of_sni(sni: Option<&str>) -> Option<Port> {
    sni?.split('.').next()?.parse().ok()
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

/// What the caller meant is none of our ports.
pub(super) fn no_such_port(workload: &InboundEntry) -> ProxyError {
    let ports = workload.policy.ports.iter();
    ProxyError::NoSuchPort {
        service: workload.policy.service.clone(),
        port: None,
        known: ports.map(|(port, _)| *port).collect(),
    }
}

#[cfg(test)]
mod tests;
