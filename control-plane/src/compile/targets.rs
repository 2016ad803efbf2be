//! Which policy holds which target: one of a kind for each, the earliest accepted.

use std::collections::BTreeMap;

use usher_config::{
    kind::{
        AccessPolicy, AuthenticationPolicy, BackendTlsPolicy, FaultPolicy, Kind, ObjectKey,
        RateLimitPolicy, Service, ServicePort, TargetKind, TargetRef, TrafficPolicy,
    },
    model::BackendTls,
    value::{Name, ServiceName},
};

use crate::registry::is_unread;

use super::{
    Finding, Reason,
    backend_tls::BackendTlsPolicies,
    index::{Aged, Index},
};

/// What a policy is attached to, its name resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Mesh,
    Namespace(Name),
    Service(ServiceName),
    Gateway(ServiceName),
    /// A route, or one rule of it by name.
    Route(ObjectKey, Option<Name>),
}

impl Target {
    /// What `reference` means in a policy of `namespace`.
    pub(super) fn of(reference: &TargetRef, namespace: &Name) -> Self {
        let full_name = || ServiceName {
            namespace: namespace.clone(),
            name: reference.name.clone(),
        };
        let route = |kind| {
            let key = ObjectKey {
                kind,
                namespace: namespace.clone(),
                name: reference.name.clone(),
            };
            Self::Route(key, reference.section_name.clone())
        };
        match reference.kind {
            TargetKind::Mesh => Self::Mesh,
            TargetKind::Namespace => Self::Namespace(reference.name.clone()),
            TargetKind::Service => Self::Service(full_name()),
            TargetKind::Gateway => Self::Gateway(full_name()),
            TargetKind::HttpRoute => route(Kind::HttpRoute),
            TargetKind::GrpcRoute => route(Kind::GrpcRoute),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Mesh => "the mesh".to_owned(),
            Self::Namespace(name) => format!("namespace {name}"),
            Self::Service(name) => format!("Service {name}"),
            Self::Gateway(name) => format!("Gateway {name}"),
            Self::Route(key, None) => key.to_string(),
            Self::Route(key, Some(rule)) => format!("rule {rule} of {key}"),
        }
    }

    pub(super) fn exists(&self, index: &Index<'_>) -> bool {
        match self {
            // Both hold for whatever comes to be in them.
            Self::Mesh | Self::Namespace(_) => true,
            Self::Service(name) => index.services.contains_key(name),
            Self::Gateway(name) => index.gateways.contains_key(name),
            Self::Route(key, section) => {
                let http = index.http_routes.iter().find(|route| route.key == key);
                let grpc = index.grpc_routes.iter().find(|route| route.key == key);
                let named = |mut names: Vec<Option<&Name>>| match section {
                    None => true,
                    Some(section) => names.drain(..).flatten().any(|name| name == section),
                };
                http.is_some_and(|route| {
                    named(
                        route
                            .object
                            .spec
                            .rules
                            .iter()
                            .map(|rule| rule.name.as_ref())
                            .collect(),
                    )
                }) || grpc.is_some_and(|route| {
                    named(
                        route
                            .object
                            .spec
                            .rules
                            .iter()
                            .map(|rule| rule.name.as_ref())
                            .collect(),
                    )
                })
            }
        }
    }
}

/// The policies in force.
#[derive(Debug, Default)]
pub(super) struct Targets<'a> {
    traffic: BTreeMap<Target, &'a TrafficPolicy>,
    access: BTreeMap<Target, &'a AccessPolicy>,
    authentication: BTreeMap<Target, &'a AuthenticationPolicy>,
    faults: BTreeMap<Target, Aged<'a, FaultPolicy>>,
    rate_limits: BTreeMap<Target, &'a RateLimitPolicy>,
    backend_tls: BackendTlsPolicies<'a>,
    /// By target: Access- and AuthenticationPolicies that never were valid.
    denied: BTreeMap<Target, Vec<&'a ObjectKey>>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(index: &Index<'a>, findings: &mut Vec<Finding>) -> Self {
        let traffic = index.traffic.iter();
        let traffic = traffic.map(|aged| (*aged, aged.object.spec.target_refs.as_slice()));
        let access = index.access.iter();
        let access = access.map(|aged| (*aged, aged.object.spec.target_refs.as_slice()));
        let tokens = index.authentication.iter();
        let tokens = tokens.map(|aged| (*aged, aged.object.spec.target_refs.as_slice()));
        let faults = index.faults.iter();
        let faults = faults.map(|aged| (*aged, aged.object.spec.target_refs.as_slice()));
        let limits = index.rate_limits.iter();
        let limits = limits.map(|aged| (*aged, aged.object.spec.target_refs.as_slice()));
        let mut denied: BTreeMap<Target, Vec<&ObjectKey>> = BTreeMap::new();
        for (key, policy) in index.denied {
            let mut closed = Vec::new();
            for reference in &policy.targets {
                let target = Target::of(reference, &key.namespace);
                closed.push(target.describe());
                // What is sent is its callers' to decide; who may call it goes on.
                if key.kind == Kind::BackendTlsPolicy {
                    continue;
                }
                denied.entry(target).or_default().push(key);
            }
            let closed = closed.join(" and ");
            findings.push(Finding {
                object: key.clone(),
                reason: Reason::Denies,
                message: if is_unread(key, policy) {
                    format!(
                        "{} cannot be read and may hold a policy: until it can be, every request to {closed}, new since then, is refused",
                        policy.file
                    )
                } else {
                    format!(
                        "no version of it was ever valid: until one is, every request to {closed} is refused"
                    )
                },
            });
        }
        Self {
            traffic: objects(assign(index, traffic, findings)),
            access: objects(assign(index, access, findings)),
            authentication: objects(assign(index, tokens, findings)),
            faults: assign(index, faults, findings),
            rate_limits: objects(assign(index, limits, findings)),
            backend_tls: BackendTlsPolicies::new(index, findings),
            denied,
        }
    }

    pub(super) fn traffic(&self, target: &Target) -> Option<&'a TrafficPolicy> {
        self.traffic.get(target).copied()
    }

    pub(super) fn access(&self, target: &Target) -> Option<&'a AccessPolicy> {
        self.access.get(target).copied()
    }

    pub(super) fn authentication(&self, target: &Target) -> Option<&'a AuthenticationPolicy> {
        self.authentication.get(target).copied()
    }

    pub(super) fn fault(&self, target: &Target) -> Option<Aged<'a, FaultPolicy>> {
        self.faults.get(target).copied()
    }

    pub(super) fn rate_limits(&self, target: &Target) -> Option<&'a RateLimitPolicy> {
        self.rate_limits.get(target).copied()
    }

    /// What a port's endpoints are asked for.
    pub(super) fn backend_tls(
        &self,
        index: &Index<'_>,
        service: &Service,
        port: &ServicePort,
    ) -> Option<BackendTls> {
        self.backend_tls.of_port(index, service, port)
    }

    /// Who decides about a port's TLS.
    pub(super) fn tls_holder(
        &self,
        service: &Service,
        port: &ServicePort,
    ) -> Option<&'a ObjectKey> {
        self.backend_tls.holder(service, port)
    }

    /// Who says something about the TLS towards a service.
    pub(super) fn about_tls(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = &'a BackendTlsPolicy> {
        self.backend_tls.about(service)
    }

    pub(super) fn denied(&self, target: &Target) -> &[&'a ObjectKey] {
        self.denied.get(target).map_or(&[], Vec::as_slice)
    }
}

fn assign<'a, 'b, T: 'a>(
    index: &Index<'a>,
    policies: impl Iterator<Item = (Aged<'a, T>, &'b [TargetRef])>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Target, Aged<'a, T>> {
    let mut holders: BTreeMap<Target, Aged<'a, T>> = BTreeMap::new();
    for (policy, references) in policies {
        for reference in references {
            let target = Target::of(reference, &policy.key.namespace);
            let mut report = |reason, message| {
                findings.push(Finding {
                    object: policy.key.clone(),
                    reason,
                    message,
                });
            };
            if !target.exists(index) {
                report(
                    Reason::TargetNotFound,
                    format!("{} does not exist", target.describe()),
                );
                continue;
            }
            match holders.get(&target) {
                Some(holder) if holder.key == policy.key => {}
                Some(holder) => {
                    let message = format!(
                        "{} is held by {}, which is older",
                        target.describe(),
                        holder.key
                    );
                    report(Reason::Conflicted, message);
                }
                None => {
                    holders.insert(target, policy);
                }
            }
        }
    }
    holders
}

fn objects<T>(holders: BTreeMap<Target, Aged<'_, T>>) -> BTreeMap<Target, &T> {
    holders
        .into_iter()
        .map(|(target, holder)| (target, holder.object))
        .collect()
}
