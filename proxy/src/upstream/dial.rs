//! An endpoint's connection for one exchange: taken from the worker's pool, or dialled within the limits.

use std::{mem::take, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Request, Response};

use crate::{
    error::{Limit, ProxyError},
    http::{Body, Interim, head, upgrade::Offer},
    policy::limits::{Full, Places},
    pool::Key,
    snapshot::{EndpointEntry, PortEntry, ServiceEntry},
    tcp::Stream,
    tls::{Alpn, origin::Inside},
    worker::{Record, Worker},
};

use super::{
    Hop,
    connect::{self, MeshPeer, OriginOf},
    handshake_hop, handshake_http1,
};

/// What is spoken to an endpoint without a sidecar, or to our own application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// An application that is spoken to without a sidecar in between.
#[derive(Debug, Clone)]
pub struct Application {
    /// Where.
    pub address: SocketAddr,
    /// Whose connections.
    pub key: Key,
    /// How.
    pub version: Version,
    /// For TCP.
    pub connect: Duration,
    /// `None`: in plaintext.
    pub tls: Option<OriginOf>,
}

impl Application {
    /// A connection to it, on which HTTP may be spoken.
    async fn dial(self, worker: Rc<Worker>) -> Result<Stream, ProxyError> {
        let (address, limit) = (self.address, self.connect);
        let Some(tls) = self.tls else {
            return Ok(Stream::Plain(connect::plain(address, limit).await?));
        };
        let inside = match self.version {
            Version::Http1 => Inside::Http1,
            Version::Http2 => Inside::Http2,
        };
        let count = |outcome| worker.count_handshake(outcome);
        connect::origin(address, &tls, inside, limit, count).await
    }
}

/// Who is called: a port of an endpoint of a service.
#[derive(Debug, Clone, Copy)]
pub struct Callee<'a> {
    /// The service.
    pub service: &'a Arc<ServiceEntry>,
    /// Its port.
    pub port: &'a PortEntry,
    /// Its endpoint.
    pub endpoint: &'a EndpointEntry,
    /// For TCP.
    pub connect: Duration,
}

impl Callee<'_> {
    /// The pool's key.
    pub fn key(&self, request: &Request<Body>) -> Key {
        Key {
            endpoint: self.endpoint.number,
            port: self.port.port.get(),
            upgrades: request.extensions().get::<Offer>().is_some(),
        }
    }

    /// A place for one more connection.
    ///
    /// # Errors
    /// [`ProxyError::Overflow`].
    pub fn connection_place(&self) -> Result<Places, ProxyError> {
        let limits = &self.service.model.policy.limits;
        let service = &self.service.running.load.connections;
        let endpoint = &self.endpoint.load.connections;
        let places = Places::enter(
            (service, limits.max_connections),
            (endpoint, limits.per_endpoint.max_connections),
        );
        places.map_err(|full| match full {
            Full::Service => self.overflow(Limit::Connections),
            Full::Endpoint => self.overflow(Limit::ConnectionsPerEndpoint),
        })
    }

    /// As [`Self::connection_place`], for a pool that has no connection to this endpoint yet: it may always open
    /// one. Pools belong to workers, and a worker that could open none would refuse its whole share of the
    /// requests for as long as others hold theirs (Envoy has the same exception, for the same reason).
    fn first_connection_place(&self) -> Places {
        let beyond = |_| {
            Places::enter_beyond(
                &self.service.running.load.connections,
                &self.endpoint.load.connections,
            )
        };
        self.connection_place().unwrap_or_else(beyond)
    }

    fn pending_place(&self) -> Result<Places, ProxyError> {
        let limits = &self.service.model.policy.limits;
        let service = &self.service.running.load.pending;
        let endpoint = &self.endpoint.load.pending;
        let places = Places::enter(
            (service, limits.max_pending_requests),
            (endpoint, limits.per_endpoint.max_pending_requests),
        );
        places.map_err(|full| match full {
            Full::Service => self.overflow(Limit::PendingRequests),
            Full::Endpoint => self.overflow(Limit::PendingRequestsPerEndpoint),
        })
    }

    fn overflow(&self, limit: Limit) -> ProxyError {
        ProxyError::Overflow {
            service: self.service.model.name.clone(),
            limit,
            most: limit.of(&self.service.model.policy.limits),
        }
    }

    /// What mutual TLS needs to know.
    pub fn mesh_peer(&self) -> MeshPeer {
        MeshPeer {
            endpoint: self.endpoint.model.address,
            expected: self.service.identities.clone(),
            sni: self.port.sni.clone(),
        }
    }
}

/// One exchange with another sidecar.
///
/// # Errors
/// Dialling's, the exchange's, and [`ProxyError::Overflow`].
pub async fn through_mesh(
    worker: &Rc<Worker>,
    callee: Callee<'_>,
    request: &mut Request<Body>,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let key = callee.key(request);
    let hop = match worker.pool.open_hop(key) {
        Some(hop) => hop,
        None => {
            let place = match (callee.connection_place(), worker.pool.busy_hop(key)) {
                (Ok(place), _) => place,
                (Err(_), Some(hop)) => return on_hop(hop, request, record).await,
                (Err(_), None) => callee.first_connection_place(),
            };
            // Only who has to wait for a connection is pending; the place is free before the exchange.
            let _pending = callee.pending_place()?;
            let (peer, limit, worker_) = (callee.mesh_peer(), callee.connect, worker.clone());
            let dial = || async move {
                let place = (place, worker_.endpoint_connection());
                let material = worker_.shared.material.load_full();
                let count = |outcome| worker_.count_handshake(outcome);
                let (stream, identity) =
                    connect::mesh(&peer, &material, Alpn::H2, limit, count).await?;
                stream.becomes_hop();
                handshake_hop(stream, peer.endpoint, Some(identity.spiffe_id), place).await
            };
            Box::pin(worker.pool.hop(key, dial)).await?
        }
    };
    on_hop(hop, request, record).await
}

async fn on_hop(
    mut hop: Hop,
    request: &mut Request<Body>,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    record.destination = hop.peer().cloned();
    record.interim.ask(request.headers_mut());
    hop.exchange(request, &record.interim).await
}

/// One exchange with an endpoint that has no sidecar.
///
/// # Errors
/// As [`through_mesh`].
pub async fn without_sidecar(
    worker: &Rc<Worker>,
    callee: Callee<'_>,
    version: Version,
    request: &mut Request<Body>,
    interim: &Interim,
) -> Result<Response<Body>, ProxyError> {
    let key = callee.key(request);
    let application = Application {
        address: callee.endpoint.model.address,
        key,
        version,
        connect: callee.connect,
        tls: callee.port.tls.clone(),
    };
    with_application(
        worker,
        application,
        || {
            let others = worker.pool.has_http1(key) || worker.pool.busy_hop(key).is_some();
            let place = if others {
                callee.connection_place()?
            } else {
                callee.first_connection_place()
            };
            let place = (place, worker.endpoint_connection());
            Ok((place, callee.pending_place()?))
        },
        request,
        interim,
    )
    .await
}

/// One exchange with an application. `places` is asked for each new connection: the first lives as long as it, the
/// second until it is there.
///
/// # Errors
/// Dialling's, the exchange's, and what `places` says.
pub async fn with_application<P: 'static, W>(
    worker: &Rc<Worker>,
    application: Application,
    places: impl FnOnce() -> Result<(P, W), ProxyError>,
    request: &mut Request<Body>,
    interim: &Interim,
) -> Result<Response<Body>, ProxyError> {
    let Application {
        address,
        key,
        version,
        ..
    } = application;
    let offer = request.extensions_mut().remove::<Offer>();
    match version {
        Version::Http2 if offer.is_some() => Err(ProxyError::UpgradeRefused),
        Version::Http2 => {
            if application.tls.is_some() {
                head::to_https(request);
            }
            let mut hop = match worker.pool.open_hop(key) {
                Some(hop) => hop,
                None => {
                    let (place, _pending) = match (places(), worker.pool.busy_hop(key)) {
                        (Ok(places), _) => places,
                        (Err(_), Some(mut hop)) => return hop.exchange(request, interim).await,
                        (Err(error), None) => return Err(error),
                    };
                    let worker_ = worker.clone();
                    let dial = || async move {
                        let stream = application.dial(worker_).await?;
                        handshake_hop(stream, address, None, place).await
                    };
                    Box::pin(worker.pool.hop(key, dial)).await?
                }
            };
            hop.exchange(request, interim).await
        }
        Version::Http1 => {
            let after = offer.map(|offer| (take(request.body_mut()), offer));
            head::to_origin_form(request);
            // What is to be upgraded gets a connection of its own: one from the pool might be closing just now.
            let idle = match after {
                None => worker.pool.idle_http1(key),
                Some(_) => None,
            };
            let connection = match idle {
                Some(connection) => connection,
                None => {
                    let (place, _pending) = places()?;
                    let home = Rc::downgrade(&worker.pool.http1(key));
                    let dial = async {
                        let stream = application.dial(worker.clone()).await?;
                        handshake_http1(stream, address, home, place).await
                    };
                    Box::pin(dial).await?
                }
            };
            match after {
                None => {
                    let exchange = |request| connection.exchange(request);
                    interim.during(request, exchange).await
                }
                Some((body, offer)) => {
                    offer.ask(request.headers_mut());
                    connection.switch(take(request), &offer, body).await
                }
            }
        }
    }
}
