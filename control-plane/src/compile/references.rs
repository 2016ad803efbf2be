//! References to services: whether they lead somewhere, and whether they may.
//!
//! One that crosses namespaces needs a ReferenceGrant where it leads, whoever writes it: else whoever may write routes
//! in one namespace could send traffic into all others. Whether it may is asked first, so that nobody learns what
//! exists where he has no say.

use std::fmt;

use usher_config::{
    kind::{BackendRef, CertificateRef, Granted, ObjectKey, grant_for},
    model::{Backend, BackendTarget, ServiceTarget},
    value::{CertificateName, Port, ServiceName},
};

use super::{Finding, Reason, index::Index};

/// Whose references are followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Referrer<'a> {
    pub(super) index: &'a Index<'a>,
    pub(super) object: &'a ObjectKey,
}

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) reason: Reason,
    /// One line.
    pub(super) message: String,
}

impl Broken {
    /// What that means for its object.
    pub(super) fn finding(self, object: &ObjectKey, consequence: &str) -> Finding {
        Finding {
            object: object.clone(),
            reason: self.reason,
            message: format!("{consequence}: {}", self.message),
        }
    }
}

/// Whose requests follow a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// Of a service: it needs no grant, for where callers go anyway a route of theirs (a consumer route) may name.
    CallersOf(&'a ServiceName),
    /// From outside.
    Gateway(&'a ServiceName),
    /// Nobody's in particular.
    Any,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallersOf(service) => write!(f, "requests to Service {service}"),
            Self::Gateway(gateway) => write!(f, "requests through Gateway {gateway}"),
            Self::Any => f.write_str("requests"),
        }
    }
}

/// Where it leads.
pub(super) fn follow(
    referrer: &Referrer<'_>,
    service: ServiceName,
    port: Port,
    whose: Whose<'_>,
) -> Result<ServiceTarget, Broken> {
    let (index, object) = (referrer.index, referrer.object);
    let own = service.namespace == object.namespace || whose == Whose::CallersOf(&service);
    if !own && !index.grants(object, (Granted::Service, &service)) {
        let grant = grant_for(object.kind, &object.namespace, (Granted::Service, &service));
        return Err(Broken {
            reason: Reason::RefNotPermitted,
            message: format!("Service {service} is in another namespace; it takes {grant}"),
        });
    }
    index.resolve(service, port).map_err(|message| Broken {
        reason: Reason::RefNotResolved,
        message,
    })
}

/// A share of a route's requests, without filters. One that leads nowhere is reported.
pub(super) fn http_backend(
    referrer: &Referrer<'_>,
    backend: &BackendRef,
    whose: Whose<'_>,
    findings: &mut Vec<Finding>,
) -> Backend {
    let service = backend.service(&referrer.object.namespace);
    let target = follow(referrer, service, backend.port, whose).and_then(|target| {
        if referrer.index.is_opaque(&target) {
            let ServiceTarget { service, port } = &target;
            return Err(Broken {
                reason: Reason::RefNotResolved,
                message: format!("port {port} of Service {service} carries no HTTP (appProtocol)"),
            });
        }
        Ok(target)
    });
    if let Err(broken) = &target {
        let consequence = format!("its share of {whose} gets 500");
        findings.push(broken.clone().finding(referrer.object, &consequence));
    }
    share(backend, target)
}

/// A share of a route's connections. One that leads nowhere is reported.
pub(super) fn stream_backend(
    referrer: &Referrer<'_>,
    backend: &BackendRef,
    whose: Whose<'_>,
    findings: &mut Vec<Finding>,
) -> Backend {
    let service = backend.service(&referrer.object.namespace);
    let target = follow(referrer, service, backend.port, whose);
    if let Err(broken) = &target {
        let consequence = "its share of connections is reset";
        findings.push(broken.clone().finding(referrer.object, consequence));
    }
    share(backend, target)
}

/// What a certificate of a Gateway is called; `None`: it is another namespace's, which has not allowed it.
pub(super) fn certificate(
    referrer: &Referrer<'_>,
    written: &CertificateRef,
    findings: &mut Vec<Finding>,
) -> Option<CertificateName> {
    let (index, object) = (referrer.index, referrer.object);
    let name = written.full_name(&object.namespace);
    if name.namespace == object.namespace {
        return Some(CertificateName::from(&name.name));
    }
    let to = (Granted::Secret, &name);
    if index.grants(object, to) {
        return Some(CertificateName::from(&name));
    }
    let grant = grant_for(object.kind, &object.namespace, to);
    findings.push(Finding {
        object: object.clone(),
        reason: Reason::RefNotPermitted,
        message: format!(
            "certificate {name} is not shown: it is another namespace's; it takes {grant}"
        ),
    });
    None
}

fn share(backend: &BackendRef, target: Result<ServiceTarget, Broken>) -> Backend {
    Backend {
        weight: backend.weight,
        target: match target {
            Ok(target) => BackendTarget::Service(target),
            Err(broken) => BackendTarget::Invalid(broken.message),
        },
        filters: None,
    }
}
