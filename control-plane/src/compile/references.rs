//! References to services: whether they lead somewhere, and whether they may.
//!
//! One that crosses namespaces needs a ReferenceGrant where it leads, whoever writes it: else whoever may write routes
//! in one namespace could send traffic into all others. Whether it may is asked first, so that nobody learns what
//! exists where he has no say.

use usher_config::{
    kind::{BackendRef, ObjectKey, grant_for},
    model::{Backend, BackendTarget, ServiceTarget},
    value::{Port, ServiceName},
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

/// Where it leads. `parents` need no grant: a route of callers (a consumer route) may name the service that they
/// called anyway.
pub(super) fn follow(
    referrer: &Referrer<'_>,
    service: ServiceName,
    port: Port,
    parents: &[ServiceName],
) -> Result<ServiceTarget, Broken> {
    let (index, object) = (referrer.index, referrer.object);
    let own = service.namespace == object.namespace || parents.contains(&service);
    if !own && !index.grants(object, &service) {
        let grant = grant_for(object.kind, &object.namespace, &service);
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

/// A share of a route's requests, without filters.
pub(super) fn plain_backend(
    referrer: &Referrer<'_>,
    backend: &BackendRef,
    parents: &[ServiceName],
) -> Backend {
    let service = backend.service(&referrer.object.namespace);
    let target = follow(referrer, service, backend.port, parents);
    Backend {
        weight: backend.weight,
        target: match target {
            Ok(target) => BackendTarget::Service(target),
            Err(broken) => BackendTarget::Invalid(broken.message),
        },
        filters: None,
    }
}

/// Says which of an object's backends lead nowhere.
pub(super) fn report_backends<'a>(
    index: &Index<'_>,
    (object, parents): (&ObjectKey, &[ServiceName]),
    backends: impl Iterator<Item = &'a BackendRef>,
    findings: &mut Vec<Finding>,
) {
    let referrer = Referrer { index, object };
    for backend in backends {
        let service = backend.service(&object.namespace);
        if let Err(broken) = follow(&referrer, service, backend.port, parents) {
            findings.push(broken.finding(object, "its share of requests gets 500"));
        }
    }
}
