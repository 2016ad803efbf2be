//! Authority → service: from the snapshot, or by the one bounded question to the control thread.

use std::{rc::Rc, sync::Arc};

use usher_config::{
    model::Protocol,
    value::{Port, ServiceName},
};

use crate::{
    error::ProxyError,
    http::head,
    route::authority::{self, Meaning},
    snapshot::ServiceEntry,
    worker::Worker,
    xds::{DISCOVERY_TIMEOUT, Resolution},
};

/// The service and port that an authority means.
///
/// # Errors
/// [`ProxyError::NoSuchHost`], [`ProxyError::NotInMesh`], [`ProxyError::NoSuchPort`], [`ProxyError::PortIsTcp`], and what [`by_name`] says.
pub(super) async fn by_authority(
    worker: &Rc<Worker>,
    authority: &str,
) -> Result<(Arc<ServiceEntry>, Port), ProxyError> {
    let authority = head::parse(authority)?;
    let known = worker.snapshot().service_by_host(&authority.host).cloned();
    let service = match known {
        Some(service) => service,
        None => match authority.meaning(&worker.shared.store.own().namespace) {
            Some(Meaning::Service(name)) => by_name(worker, &name)
                .await
                .map_err(|error| in_its_words(error, &authority.host))?,
            Some(Meaning::Address(_)) | None => {
                let host = authority.host.into();
                return Err(ProxyError::NoSuchHost { host });
            }
        },
    };
    let port = authority::service_port(&service.model, authority.port);
    let port = port.ok_or_else(|| ProxyError::NoSuchPort {
        service: service.model.name.clone(),
        port: authority.port,
        known: service.port_numbers(),
    })?;
    if port.protocol == Protocol::Tcp {
        return Err(ProxyError::PortIsTcp {
            service: service.model.name.clone(),
            port: port.port,
        });
    }
    let port = port.port;
    Ok((service, port))
}

/// People know the host that they asked for, not the service that we took it for.
fn in_its_words(error: ProxyError, host: &str) -> ProxyError {
    match error {
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
pub(super) async fn by_name(
    worker: &Rc<Worker>,
    name: &ServiceName,
) -> Result<Arc<ServiceEntry>, ProxyError> {
    if let Some(known) = worker.snapshot().service(name) {
        return Ok(known.clone());
    }
    let timed_out = || ProxyError::DiscoveryTimeout {
        service: name.clone(),
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
