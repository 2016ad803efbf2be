//! What was accepted → what runs. Pure: no I/O, no clock, no randomness; the same [`World`] gives the same
//! [`Compiled`] on every replica.
//!
//! Nothing here can fail as a whole. What cannot take effect (a policy whose target does not exist, a second
//! policy on one target, a backend that is not there) becomes a [`Finding`] about one object, and the rest flows.

mod index;
mod targets;
mod load_balancer;
mod traffic;
mod access;
mod backend_tls;
mod authentication;
mod claims;
mod faults;
mod rate_limits;
mod matches;
mod references;
mod filters;
mod precedence;
mod size;
mod written;
mod parents;
mod streams;
mod listed;
mod routes;
mod gateways;
mod services;
pub mod explain;
pub mod modes;
pub mod reach;
pub mod shadow;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use usher_config::{
    kind::{ObjectKey, VirtualCidr},
    model::{Endpoint, Gateway, InboundPolicy, Service},
    value::{JwksUri, Name, PathReading, ServiceName, SpiffeId, TrustDomain, Weight},
};

use crate::registry::World;

use index::Index;
use targets::Targets;

pub use matches::described;
pub use written::rule_of;

/// What runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// Whose identities these are.
    pub trust_domain: TrustDomain,
    /// As callers see them.
    pub services: BTreeMap<ServiceName, Service>,
    /// As they protect themselves.
    pub inbound: BTreeMap<ServiceName, InboundPolicy>,
    /// As those who run them see them.
    pub gateways: BTreeMap<ServiceName, Gateway>,
    /// Who may be instances of each service. A service without an entry has none.
    pub backing: BTreeMap<ServiceName, Vec<Backing>>,
    /// Endpoints that are written down, of Services that nobody registers for.
    pub listed: BTreeMap<ServiceName, BTreeMap<Name, Endpoint>>,
    /// Namespace and name of every service account that a Workload has, whether a Service selects it or not.
    pub accounts: BTreeSet<(Name, Name)>,
    /// Where keys of token issuers are fetched, and how often.
    pub key_sources: BTreeMap<JwksUri, Duration>,
    /// When each FaultPolicy ends. A moment that has passed changes nothing here: sidecars look at their clocks.
    pub fault_expiries: Vec<(ObjectKey, SystemTime)>,
    /// What paths mean to all of them.
    pub path_reading: PathReading,
    /// Of which services get their addresses.
    pub virtual_block: VirtualCidr,
    /// Objects that do not do all that they say.
    pub findings: Vec<Finding>,
}

impl Compiled {
    /// Whether configuration lets `identity` be an instance of `service`.
    pub fn may_be(&self, identity: &SpiffeId, service: &ServiceName) -> bool {
        self.backing_of(identity, service).is_some()
    }

    /// Why it may: the workload that it is.
    pub fn backing_of(&self, identity: &SpiffeId, service: &ServiceName) -> Option<&Backing> {
        self.backing
            .get(service)?
            .iter()
            .find(|backing| backing.identity == *identity)
    }
}

/// A workload behind a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// The workload's.
    pub service_account: Name,
    /// Its full form.
    pub identity: SpiffeId,
    /// Of each instance.
    pub weight: Weight,
    /// Of instances that do not say.
    pub zone: String,
}

/// An accepted object that does not do all that it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub object: ObjectKey,
    /// In what way.
    pub reason: Reason,
    /// One line, naming every object involved.
    pub message: String,
}

/// In what way an object is without effect. Gateway API's words where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An earlier policy of the kind holds the target, or an earlier route of another kind the host names.
    Conflicted,
    /// The target does not exist.
    TargetNotFound,
    /// Something it refers to does not exist.
    RefNotResolved,
    /// Something it refers to is in another namespace, which has no ReferenceGrant for it.
    RefNotPermitted,
    /// No listener that it refers to takes routes of its namespace and kind.
    NotAllowedByListeners,
    /// None of its host names is one of a listener that it refers to.
    NoMatchingListenerHostname,
    /// It would weaken what a wider policy demands; `Mesh.spec.allowLoosening` would let it.
    Loosens,
    /// With it, more would be attached to its parent than fits into one message.
    TooLarge,
    /// The virtual range is used up.
    NoAddress,
    /// No version of an AccessPolicy or AuthenticationPolicy was ever valid, and what it was meant for is closed until one is.
    Denies,
    /// An issuer's keys could not be fetched yet.
    NoKeys,
    /// None of what it refers to is a certificate that could be believed in, so that nothing is sent.
    NoValidCaCertificate,
    /// It holds where nobody enforces it.
    NotEnforced,
    /// It writes claims into a header that has other issuers' in another namespace.
    SharedHeader,
    /// Another route, or another rule of it, is asked before it and takes all of its requests, or of a part of it.
    Shadowed,
    /// No request comes to what it is for.
    Unreachable,
    /// A slow primary uses up the time in which the fallback should answer.
    LateFallback,
}

impl Reason {
    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflicted => "Conflicted",
            Self::TargetNotFound => "TargetNotFound",
            Self::RefNotResolved => "RefNotResolved",
            Self::RefNotPermitted => "RefNotPermitted",
            Self::NotAllowedByListeners => "NotAllowedByListeners",
            Self::NoMatchingListenerHostname => "NoMatchingListenerHostname",
            Self::Loosens => "Loosens",
            Self::TooLarge => "TooLarge",
            Self::NoAddress => "NoAddress",
            Self::Denies => "Denies",
            Self::NoKeys => "NoKeys",
            Self::NoValidCaCertificate => "NoValidCACertificate",
            Self::NotEnforced => "NotEnforced",
            Self::SharedHeader => "SharedHeader",
            Self::Shadowed => "Shadowed",
            Self::Unreachable => "Unreachable",
            Self::LateFallback => "LateFallback",
        }
    }
}

/// Compiles a world.
pub fn compile(world: &World) -> Compiled {
    let mut findings = Vec::new();
    let index = Index::new(world, &mut findings);
    let targets = Targets::new(&index, &mut findings);
    let mut compiled = Compiled {
        trust_domain: index.trust_domain.clone(),
        services: BTreeMap::new(),
        inbound: BTreeMap::new(),
        gateways: gateways::gateways(&index, &targets, &mut findings),
        backing: BTreeMap::new(),
        listed: BTreeMap::new(),
        accounts: services::accounts(&index),
        key_sources: authentication::key_sources(&index),
        fault_expiries: faults::expiries(&index),
        path_reading: services::path_reading(&index),
        virtual_block: world.virtual_block(),
        findings: Vec::new(),
    };
    authentication::of_gateways((&index, &targets), &mut compiled.gateways, &mut findings);
    rate_limits::of_gateways((&index, &targets), &mut compiled.gateways, &mut findings);
    let mut attached = routes::by_parent(&index, &targets, &mut findings);
    for (name, service) in &index.services {
        let backing = services::backing(&index, service);
        let attached = attached.remove(name).unwrap_or_default();
        let called = services::service(&index, &targets, service, &backing, attached);
        if called.virtual_addresses.is_empty() {
            findings.push(Finding {
                object: index.key_of_service(name),
                reason: Reason::NoAddress,
                message: "the mesh's virtualCidr has no address left; make it larger".to_owned(),
            });
        }
        let layers = traffic::layers_of_service(&targets, name);
        findings.extend(traffic::late_fallback(&layers, &called.policy));
        compiled.services.insert(name.clone(), called);
        let inbound = services::inbound(&index, &targets, service, &mut findings);
        compiled.inbound.insert(name.clone(), inbound);
        if !backing.is_empty() {
            compiled.backing.insert(name.clone(), backing);
        }
    }
    compiled.listed = listed::listed(&index, &compiled.services, &mut findings);
    access::report_unverified(&compiled.inbound, &mut findings);
    for workload in &index.workloads {
        let name = services::caller_name(workload);
        // A Service of that name speaks for its own workloads.
        if !compiled.services.contains_key(&name) {
            compiled.inbound.insert(
                name.clone(),
                services::caller_inbound(&index, workload, name.clone()),
            );
            compiled
                .backing
                .insert(name, vec![services::backing_of(&index, workload)]);
        }
    }
    claims::trust_gateways(&mut compiled);
    claims::report_shared(&index, &mut findings);
    shadow::report(world, (&index, &targets), &compiled, &mut findings);
    findings.sort_by(|a, b| {
        (&a.object, a.reason.as_str(), &a.message).cmp(&(&b.object, b.reason.as_str(), &b.message))
    });
    findings.dedup();
    compiled.findings = findings;
    compiled
}

#[cfg(test)]
mod tests;
