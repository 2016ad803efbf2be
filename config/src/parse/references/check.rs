//! The references of one object, each followed.

mod access;
mod backend;
mod gateway;
mod guards;
mod route;
mod stream;

use crate::{
    kind::{
        Fallback, FallbackTarget, Granted, Kind, Object, ParentKind, ParentRef, SERVICE_NAME_LABEL,
        Service, TargetKind, TargetRef, grant_for,
    },
    parse::{Located, Mistake, Severity, report::nearest},
    value::{Name, Port, ServiceName},
};

use super::index::Index;
use super::mistake;

/// The checks of one object.
pub(super) struct Check<'a, 'm> {
    pub(super) located: &'a Located,
    pub(super) index: &'a Index<'a>,
    pub(super) mistakes: &'m mut Vec<Mistake>,
}

impl<'a> Check<'a, '_> {
    /// Follows all of the object's references.
    pub(super) fn object(&mut self) {
        match &self.located.object {
            Object::Service(service) => self.service(service),
            Object::HttpRoute(route) => self.http_route(&route.spec),
            Object::GrpcRoute(route) => self.grpc_route(&route.spec),
            Object::TlsRoute(route) => {
                self.stream_route(&route.spec.parent_refs, &route.spec.rules);
            }
            Object::TcpRoute(route) => {
                self.stream_route(&route.spec.parent_refs, &route.spec.rules);
            }
            Object::Gateway(gateway) => self.gateway(gateway),
            Object::TrafficPolicy(policy) => {
                self.targets(&policy.spec.target_refs);
                self.fallback(policy.spec.fallback.as_ref());
            }
            Object::AccessPolicy(policy) => {
                self.targets(&policy.spec.target_refs);
                self.callers(&policy.spec.rules);
            }
            Object::AuthenticationPolicy(policy) => {
                self.targets(&policy.spec.target_refs);
                self.issuers(&policy.spec.jwt);
            }
            Object::FaultPolicy(policy) => self.targets(&policy.spec.target_refs),
            Object::RateLimitPolicy(policy) => {
                self.targets(&policy.spec.target_refs);
                self.claims(&policy.spec.limits);
            }
            Object::EndpointSlice(slice) => self.endpoint_slice(slice),
            Object::BackendTlsPolicy(policy) => {
                self.targets(&policy.spec.target_refs);
                self.backend_tls(&policy.spec);
            }
            Object::Mesh(_)
            | Object::Workload(_)
            | Object::ConfigMap(_)
            | Object::ReferenceGrant(_) => {}
        }
    }

    fn namespace(&self) -> &'a Name {
        &self.located.object.metadata().namespace
    }

    fn add(
        &mut self,
        severity: Severity,
        field: &str,
        words: (String, String),
        nearest: Option<String>,
    ) {
        let mut mistake = mistake(self.located, severity, field, words);
        mistake.nearest = nearest;
        self.mistakes.push(mistake);
    }

    fn service(&mut self, service: &Service) {
        let selector = &service.spec.selector;
        let named = (self.namespace(), service.metadata.name.as_str());
        let is_listed = selector.is_empty() && self.index.listed.contains(&named);
        if is_listed || self.index.selects_some(service) || self.index.partial {
            return;
        }
        let pairs: Vec<_> = selector
            .iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        let found = match pairs.is_empty() {
            true => "no selector: nobody can answer as this service".to_owned(),
            false => format!(
                "`{}`, which selects no Workload in `{}`",
                pairs.join(", "),
                self.namespace()
            ),
        };
        let allowed = match pairs.is_empty() {
            true => format!(
                "labels that some Workload carries, or an EndpointSlice with the label `{SERVICE_NAME_LABEL}: {}`",
                service.metadata.name
            ),
            false => "labels that some Workload carries".to_owned(),
        };
        self.add(Severity::Warning, "spec.selector", (found, allowed), None);
    }

    fn parents(&mut self, parents: &[ParentRef]) {
        for (parent, at) in parents.iter().zip(0..) {
            let field = format!("spec.parentRefs[{at}]");
            let name = parent.parent(self.namespace());
            if parent.kind == ParentKind::Gateway {
                self.gateway_parent(parent, &name, &field);
                continue;
            }
            let Some(service) =
                self.known_service(&name, &format!("{field}.name"), Severity::Error)
            else {
                continue;
            };
            if let Some(port) = parent.port {
                self.port(service, port, &format!("{field}.port"), Severity::Error);
            }
            let Some(section) = &parent.section_name else {
                continue;
            };
            self.port_named(service, section, &format!("{field}.sectionName"));
        }
    }

    /// The port of that name; its absence is reported.
    fn port_named(&mut self, service: &Service, section: &Name, field: &str) {
        let named = service
            .spec
            .ports
            .iter()
            .filter_map(|port| port.name.as_ref());
        let names: Vec<_> = named.map(Name::as_str).collect();
        if names.contains(&section.as_str()) {
            return;
        }
        let near = nearest(section.as_str(), names.iter().copied());
        let name = service.full_name();
        let found = format!("`{section}`, which names no port of Service `{name}`");
        self.add(Severity::Error, field, (found, listed(&names)), near);
    }

    fn fallback(&mut self, fallback: Option<&Fallback>) {
        if let Some(FallbackTarget::BackendRef(target)) = fallback.map(|fallback| &fallback.target)
        {
            self.backend(
                &target.service(self.namespace()),
                target.port,
                "spec.fallback.backendRef",
                false,
            );
        }
    }

    /// Only a warning: a reference that leads nowhere is data (its share of requests gets 500), and the Service
    /// may be written a moment later.
    fn backend(&mut self, name: &ServiceName, port: Port, field: &str, allowed: bool) {
        let kind = self.located.object.kind();
        if !allowed {
            self.granted(kind, (Granted::Service, name), field);
        }
        if let Some(service) = self.known_service(name, &format!("{field}.name"), Severity::Warning)
        {
            self.port(service, port, &format!("{field}.port"), Severity::Warning);
        }
    }

    /// Whether its namespace has allowed a reference to it.
    fn granted(&mut self, kind: Kind, to: (Granted, &ServiceName), field: &str) {
        if self.index.allows(kind, self.namespace(), to) {
            return;
        }
        let found = format!("`{}`, whose namespace has not allowed it", to.1);
        let words = (found, grant_for(kind, self.namespace(), to));
        let field = format!("{field}.namespace");
        self.add(Severity::Warning, &field, words, None);
    }

    /// The service, if it is there and readable; its absence is reported.
    fn known_service(
        &mut self,
        name: &ServiceName,
        field: &str,
        severity: Severity,
    ) -> Option<&'a Service> {
        let index = self.index;
        if let Some(service) = index.services.get(name) {
            return *service;
        }
        let known = index.services_of(&name.namespace);
        let known: Vec<_> = known.into_iter().map(Name::as_str).collect();
        let near = nearest(name.name.as_str(), known.iter().copied());
        let found = format!("`{}`, but there is no Service `{name}`", name.name);
        self.add(severity, field, (found, listed(&known)), near);
        None
    }

    fn port(&mut self, service: &Service, port: Port, field: &str, severity: Severity) {
        if service
            .spec
            .ports
            .iter()
            .any(|declared| declared.port == port)
        {
            return;
        }
        let numbers: Vec<_> = service
            .spec
            .ports
            .iter()
            .map(|port| port.port.to_string())
            .collect();
        let found = format!(
            "`{port}`, which is no port of Service `{}`",
            service.full_name()
        );
        self.add(severity, field, (found, numbers.join(", ")), None);
    }

    fn targets(&mut self, targets: &[TargetRef]) {
        for (target, at) in targets.iter().zip(0..) {
            let field = format!("spec.targetRefs[{at}]");
            let name = ServiceName {
                namespace: self.namespace().clone(),
                name: target.name.clone(),
            };
            match target.kind {
                TargetKind::Namespace => {}
                TargetKind::Mesh => self.mesh_target(target, &field),
                TargetKind::Service => {
                    let at = format!("{field}.name");
                    let service = self.known_service(&name, &at, Severity::Error);
                    if let (Some(service), Some(section)) = (service, &target.section_name) {
                        self.port_named(service, section, &format!("{field}.sectionName"));
                    }
                }
                TargetKind::Gateway => self.gateway_target(&name, &format!("{field}.name")),
                TargetKind::HttpRoute | TargetKind::GrpcRoute => {
                    self.route_target(target, &name, &field)
                }
            }
        }
    }

    fn mesh_target(&mut self, target: &TargetRef, field: &str) {
        if let Some(mesh) = self.index.mesh.filter(|mesh| **mesh != target.name) {
            let found = format!("`{}`, which is not the Mesh's name", target.name);
            let (field, allowed) = (format!("{field}.name"), mesh.to_string());
            self.add(
                Severity::Error,
                &field,
                (found, allowed.clone()),
                Some(allowed),
            );
        }
    }

    fn route_target(&mut self, target: &TargetRef, name: &ServiceName, field: &str) {
        let Some(rules) = self.index.routes.get(&(target.kind, name.clone())) else {
            let known: Vec<_> = self
                .index
                .routes
                .keys()
                .filter(|(kind, route)| *kind == target.kind && route.namespace == name.namespace)
                .map(|(_, route)| route.name.as_str())
                .collect();
            let near = nearest(target.name.as_str(), known.iter().copied());
            let found = format!(
                "`{}`, but there is no such {} in `{}`",
                target.name, target.kind, name.namespace
            );
            self.add(
                Severity::Error,
                &format!("{field}.name"),
                (found, listed(&known)),
                near,
            );
            return;
        };
        let (Some(section), Some(rules)) = (&target.section_name, rules) else {
            return;
        };
        if !rules.contains(section) {
            let known: Vec<_> = rules.iter().map(|name| name.as_str()).collect();
            let near = nearest(section.as_str(), known.iter().copied());
            let found = format!(
                "`{section}`, which names no rule of {} `{name}`",
                target.kind
            );
            let words = (found, listed(&known));
            self.add(
                Severity::Error,
                &format!("{field}.sectionName"),
                words,
                near,
            );
        }
    }
}

/// How many names are spelled out, for people.
const LISTED_MAX: usize = 8;

fn listed(names: &[&str]) -> String {
    listed_first(names.len(), names.iter().map(|&name| name.to_owned()))
}

/// Of so many names the first. The others are not even asked for: a mesh has thousands, and each mistake asks anew.
fn listed_first(all: usize, names: impl Iterator<Item = String>) -> String {
    let shown: Vec<String> = names.take(LISTED_MAX).collect();
    match all.saturating_sub(shown.len()) {
        _ if all == 0 => "none exists".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
