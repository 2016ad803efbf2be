//! Authority or destination → service: from the snapshot, or by the one bounded question to the control thread.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use usher_config::{
    model::Protocol,
    value::{Port, ServiceName},
};

use crate::{
    error::ProxyError,
    http::head,
    route::authority::{self, Meaning},
    snapshot::{EndpointEntry, ServiceEntry, Snapshot},
    worker::{Record, Worker},
    xds::{DISCOVERY_TIMEOUT, Resolution},
};

/// Whom a caller means.
#[derive(Debug)]
pub(super) struct Found {
    pub service: Arc<ServiceEntry>,
    pub port: Port,
    pub protocol: Protocol,
    /// The only endpoint that was meant, by position.
    pub only: Option<usize>,
}

/// The service and port that an authority means.
///
/// # Errors
/// [`ProxyError::NoSuchHost`], [`ProxyError::NotInMesh`], [`ProxyError::NoSuchPort`], [`ProxyError::PortIsTcp`], and what [`by_name`] says.
pub(super) async fn by_authority(
    worker: &Rc<Worker>,
    authority: &str,
) -> Result<Found, ProxyError> {
    let authority = head::parse(authority)?;
    let known = worker.snapshot().service_by_host(&authority.host).cloned();
    let service = match known {
        Some(service) => service,
        None => match authority.meaning(&worker.shared.store.own().namespace) {
            Some(Meaning::Service(name)) => by_name(worker, &name)
                .await
                .map_err(|error| in_its_words(error, &authority.host))?,
            Some(Meaning::Address(address)) => {
                let answer = worker.shared.discovery.resolve_address(address).await;
                match worker.snapshot().service_by_host(&authority.host) {
                    Some(service) => service.clone(),
                    None => return by_endpoint(worker, (address, answer), &authority),
                }
            }
            None => return Err(no_such_host(&authority)),
        },
    };
    let port = authority::service_port(&service.model, authority.port);
    let port = port.ok_or_else(|| ProxyError::NoSuchPort {
        service: service.model.name.clone(),
        port: authority.port,
        known: service.port_numbers(),
    })?;
    let (port, protocol) = (port.port, port.protocol);
    speaks_http(Found {
        service,
        port,
        protocol,
        only: None,
    })
}

/// Whose a request would have been that is refused before anybody looks for its service: counted as other refusals are,
/// where that is known without asking.
pub(super) fn note_known(worker: &Worker, meant: Option<SocketAddr>, record: &mut Record) {
    let authority = record.authority.as_ref();
    let authority = authority.and_then(|authority| head::parse(authority.as_str()).ok());
    let host = authority.map(|authority| authority.host);
    let snapshot = worker.snapshot();
    let service = match (meant, host.as_deref()) {
        (None, host) => host.and_then(|host| snapshot.service_by_host(host).cloned()),
        (Some(destination), host) => find(&snapshot, destination, host).map(|found| found.service),
    };
    if let Some(service) = service {
        record.service = Some(service.label.clone());
        record.duration = Some(service.metrics.duration.clone());
        record.requests = Some(service.treatment.requests.clone());
    }
}

/// An address that is not a service's own may be an endpoint's.
fn by_endpoint(
    worker: &Rc<Worker>,
    (address, answer): (IpAddr, Resolution),
    authority: &authority::Authority<'_>,
) -> Result<Found, ProxyError> {
    let destination = SocketAddr::new(address, authority.port.map_or(80, Port::get));
    let snapshot = worker.snapshot();
    match find(&snapshot, destination, None) {
        Some(found) => speaks_http(found),
        None if is_decided(&snapshot, destination, answer) => Err(no_such_host(authority)),
        None => Err(timed_out(destination)),
    }
}

fn no_such_host(authority: &authority::Authority<'_>) -> ProxyError {
    let host = (&*authority.host).into();
    ProxyError::NoSuchHost { host }
}

fn speaks_http(found: Found) -> Result<Found, ProxyError> {
    if found.protocol == Protocol::Tcp {
        return Err(ProxyError::PortIsTcp {
            service: found.service.model.name.clone(),
            port: found.port,
        });
    }
    Ok(found)
}

/// Whom a request on an intercepted connection means: always somebody at its destination.
///
/// # Errors
/// [`ProxyError::NoSuchDestination`], [`ProxyError::DiscoveryTimeout`], [`ProxyError::PortIsTcp`], and what [`at`] says.
pub(super) async fn by_destination(
    worker: &Rc<Worker>,
    destination: SocketAddr,
    authority: &str,
) -> Result<Found, ProxyError> {
    let authority = head::parse(authority)?;
    match at(worker, destination, Some(&authority.host)).await? {
        At::Found(found) => speaks_http(found),
        At::Nobody => Err(ProxyError::NoSuchDestination { destination }),
        At::Unanswered => Err(timed_out(destination)),
    }
}

/// Who is at a destination.
#[derive(Debug)]
pub(super) enum At {
    Found(Found),
    /// Nobody of the mesh.
    Nobody,
    /// Nobody can say: it may be somebody of the mesh.
    Unanswered,
}

/// Who is at a destination. `host` chooses among several services there.
///
/// # Errors
/// [`ProxyError::NoSuchPort`] of a service's own address: nobody else can be there.
pub(super) async fn at(
    worker: &Rc<Worker>,
    destination: SocketAddr,
    host: Option<&str>,
) -> Result<At, ProxyError> {
    if let Some(found) = find(&worker.snapshot(), destination, host) {
        return Ok(At::Found(found));
    }
    let discovery = &worker.shared.discovery;
    let answer = discovery.resolve_address(destination.ip()).await;
    let snapshot = worker.snapshot();
    if let Some(found) = find(&snapshot, destination, host) {
        return Ok(At::Found(found));
    }
    let mut services = snapshot.services_at(destination.ip()).iter();
    if let Some(owner) = services.find(|service| is_virtual(service, destination)) {
        return Err(ProxyError::NoSuchPort {
            service: owner.model.name.clone(),
            port: Port::try_from(u32::from(destination.port())).ok(),
            known: owner.port_numbers(),
        });
    }
    if is_decided(&snapshot, destination, answer) {
        Ok(At::Nobody)
    } else {
        Ok(At::Unanswered)
    }
}

/// Whether nobody being found at a destination means that nobody of the mesh is there. Services may share a machine with
/// somebody else's port; but one that was found and is gone again says nothing.
fn is_decided(snapshot: &Snapshot, destination: SocketAddr, answer: Resolution) -> bool {
    match answer {
        Resolution::Unknown => true,
        Resolution::Found => !snapshot.services_at(destination.ip()).is_empty(),
        Resolution::TimedOut => false,
    }
}

pub(super) fn timed_out(destination: SocketAddr) -> ProxyError {
    ProxyError::DiscoveryTimeout {
        sought: format!("whose address {destination} is").into(),
        limit: DISCOVERY_TIMEOUT,
    }
}

fn is_virtual(service: &ServiceEntry, destination: SocketAddr) -> bool {
    let own = &service.model.virtual_addresses;
    own.contains(&destination.ip())
}

/// Of the services at the destination's address: the one whose own it is, else of those with an instance there the one
/// that `host` names, else the first by name.
fn find(snapshot: &Snapshot, destination: SocketAddr, host: Option<&str>) -> Option<Found> {
    let named = host.and_then(|host| snapshot.service_by_host(host));
    let is_named = |service: &&Arc<ServiceEntry>| {
        named.is_some_and(|named| named.model.name == service.model.name)
    };
    let services = snapshot.services_at(destination.ip());
    let own = services
        .iter()
        .find(|service| is_virtual(service, destination));
    if let Some(own) = own {
        return meant(own, destination);
    }
    let by_host = services.iter().filter(is_named);
    by_host
        .chain(services)
        .find_map(|service| meant(service, destination))
}

/// What the destination means, if it is this service's: a port of its own address, or one of its endpoints.
fn meant(service: &Arc<ServiceEntry>, destination: SocketAddr) -> Option<Found> {
    let declared = service.model.port(destination.port());
    if is_virtual(service, destination) {
        let port = declared?;
        return Some(Found {
            service: service.clone(),
            port: port.port,
            protocol: port.protocol,
            only: None,
        });
    }
    // What an instance only claims leads callers of its service there, but nobody who dials the address.
    let exactly = |endpoint: &EndpointEntry| {
        endpoint.model.address_is_own && endpoint.model.address == destination
    };
    let exact = service.endpoints.iter().position(exactly);
    // A sidecar's own address stands for the port that its callers mean when they name none.
    let port = declared.or_else(|| {
        exact?;
        authority::default_port(&service.model)
    })?;
    let there = |(_, endpoint): &(usize, &EndpointEntry)| {
        let ports = &endpoint.model.ports;
        endpoint.model.address_is_own
            && endpoint.model.address.ip() == destination.ip()
            && (ports.is_empty() || ports.contains(&port.port))
    };
    let endpoints = || service.endpoints.iter().enumerate().filter(there);
    // Several instances on one machine: one that is well.
    let healthy = endpoints().find(|(_, endpoint)| endpoint.model.healthy);
    let likely = || healthy.or_else(|| endpoints().next());
    let position = exact.or_else(|| likely().map(|(position, _)| position))?;
    Some(Found {
        service: service.clone(),
        port: port.port,
        protocol: port.protocol,
        only: Some(position),
    })
}

/// People know the host that they asked for, not the service that we took it for.
fn in_its_words(error: ProxyError, host: &str) -> ProxyError {
    match error {
        ProxyError::UnknownService { .. } if host == "localhost" => {
            ProxyError::NoSuchHost { host: host.into() }
        }
        ProxyError::UnknownService { service } => ProxyError::NotInMesh {
            host: host.into(),
            service,
        },
        error => error,
    }
}

/// The service of this name.
///
/// # Errors
/// [`ProxyError::UnknownService`], [`ProxyError::DiscoveryTimeout`].
pub(crate) async fn by_name(
    worker: &Rc<Worker>,
    name: &ServiceName,
) -> Result<Arc<ServiceEntry>, ProxyError> {
    if let Some(known) = worker.snapshot().service(name) {
        return Ok(known.clone());
    }
    let timed_out = || ProxyError::DiscoveryTimeout {
        sought: format!("service {name}").into(),
        limit: DISCOVERY_TIMEOUT,
    };
    match worker.shared.discovery.resolve(name).await {
        Resolution::Found => worker
            .snapshot()
            .service(name)
            .cloned()
            .ok_or_else(timed_out),
        Resolution::Unknown => Err(ProxyError::UnknownService {
            service: name.clone(),
        }),
        Resolution::TimedOut => Err(timed_out()),
    }
}
