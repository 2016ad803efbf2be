//! Routes for connections: which takes one that our application opens to a service's port, and where it leads.
//!
//! A TCPRoute takes all. TLSRoutes go by the name that TLS asks for: the client hello is read, and passed on with the rest,
//! unopened. A port that has routes has no other way (GEP-1426, "Route presence"), so what none takes is refused. Which way
//! a connection goes is decided once: when routes change, those that are open stay where they are.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use http::uri;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;
use usher_config::{
    model::{BackendTarget, ServiceTarget, StreamRoute},
    value::Port,
};

use crate::{
    detect::{parser::Detected, reader},
    error::{Misdirected, ProxyError},
    route::{Governed, pick_backend},
    snapshot::ServiceEntry,
    tcp::{Looked, Stream},
    tls::{HANDSHAKE_TIMEOUT, edge},
    worker::Worker,
};

use super::{
    FIRST_BYTES_MAX,
    opaque::{carry_bytes, refused},
};

/// Where an opaque stream goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub target: ServiceTarget,
    /// The only endpoint that was meant.
    pub only: Option<SocketAddr>,
}

/// An opaque stream's way, and what the log says about it.
#[derive(Debug)]
pub(super) struct Way {
    /// Or why there is none.
    pub to: Result<Destination, ProxyError>,
    /// Whom the caller means, if it is known.
    pub meant: Option<Arc<ServiceEntry>>,
    /// Which route has led it there.
    pub route: Option<Arc<str>>,
    /// The name that its TLS asks for.
    pub host: Option<uri::Authority>,
    /// Who calls, if it comes from outside.
    pub client: Option<IpAddr>,
}

impl Way {
    /// As the caller has said, or nowhere.
    pub(super) fn straight(to: Result<Destination, ProxyError>) -> Self {
        Self {
            to,
            meant: None,
            route: None,
            host: None,
            client: None,
        }
    }
}

/// Carries a connection of which nothing is known but whom it means.
pub(super) async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    service: Arc<ServiceEntry>,
    destination: Destination,
) {
    let port = destination.target.port;
    if let Some(way) = way(&worker, &service, destination) {
        return carry_bytes(worker, Stream::Plain(stream), &way).await;
    }
    // One that ends before its first byte has asked for nothing.
    if let Ok(detected) = reader::look(&stream, FIRST_BYTES_MAX).await {
        Box::pin(by_name(worker, (stream, detected), (&service, port))).await;
    }
}

/// The way of a connection, whatever it carries; `None`: it has to say for whom it is, see [`by_name`].
pub(super) fn way(
    worker: &Worker,
    service: &Arc<ServiceEntry>,
    destination: Destination,
) -> Option<Way> {
    // Who dials an endpoint's own address means that endpoint: routes are about the service's (GEP-1426).
    let governed = match destination.only {
        None => service.streams.at(destination.target.port),
        Some(_) => None,
    };
    match governed {
        None => Some(Way::straight(Ok(destination))),
        Some(Governed::By(route)) => Some(along(worker, service, route)),
        Some(Governed::ByName) => None,
    }
}

/// Carries a connection to a port whose routes go by name; its first bytes are there, and are `detected`.
pub(super) async fn by_name(
    worker: Rc<Worker>,
    (stream, detected): (TcpStream, Detected),
    (service, port): (&Arc<ServiceEntry>, Port),
) {
    worker.handles.detected.add(worker.index, detected.as_str());
    let misdirected = |host: &str, why| ProxyError::Misdirected {
        host: host.into(),
        why,
    };
    if detected != Detected::Tls {
        let error = misdirected(&service.label, Misdirected::NoTls);
        let way = nowhere(service, error);
        return carry_bytes(worker, Stream::Plain(stream), &way).await;
    }
    let hello = match timeout(HANDSHAKE_TIMEOUT, edge::hello(stream)).await {
        Ok(Ok(hello)) => hello,
        unread => {
            debug!(outcome = ?unread.map(|read| read.err()), "client hello could not be read");
            let reason = "client-hello-unreadable";
            let error = ProxyError::InvalidRequest { reason };
            return refused(&worker, &nowhere(service, error));
        }
    };
    let sni = hello.sni();
    let host = sni.and_then(|sni| sni.parse().ok());
    if let Some(route) = service.streams.select(port, sni) {
        let way = Way {
            host,
            ..along(&worker, service, route)
        };
        let (stream, seen) = hello.into_parts();
        let stream = Looked::after(Stream::Plain(stream), &seen).into_stream();
        return carry_bytes(worker, stream, &way).await;
    }
    let error = match sni {
        Some(sni) => misdirected(sni, Misdirected::Name),
        None => misdirected(&service.label, Misdirected::NoName),
    };
    let way = Way {
        host,
        ..nowhere(service, error)
    };
    // TLS has a word for it, which says more than a reset.
    hello.refuse().await;
    refused(&worker, &way);
}

/// To one of a route's backends, by weight.
fn along(worker: &Worker, service: &Arc<ServiceEntry>, route: &StreamRoute) -> Way {
    let nobody = || ProxyError::InvalidBackend {
        route: route.name.clone(),
    };
    let chosen = pick_backend(&route.backends, worker.random());
    let to = match chosen.map(|backend| &backend.target) {
        Some(BackendTarget::Service(target)) => Ok(Destination {
            target: target.clone(),
            only: None,
        }),
        Some(BackendTarget::Invalid(reason)) => {
            debug!(route = %route.name, reason, "connection leads nowhere");
            Err(nobody())
        }
        None => Err(nobody()),
    };
    Way {
        meant: Some(service.clone()),
        route: Some(route.name.clone()),
        ..Way::straight(to)
    }
}

fn nowhere(service: &Arc<ServiceEntry>, error: ProxyError) -> Way {
    Way {
        meant: Some(service.clone()),
        ..Way::straight(Err(error))
    }
}
