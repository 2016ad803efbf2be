//! BackendTLSPolicies → the TLS of each port that has one. Where one is meant and cannot be verified, nothing is sent.

use std::collections::BTreeMap;

use usher_config::{
    kind::{
        self, AppProtocol, BackendTlsPolicy, CaCertificateRef, Kind, SubjectAltName, TargetKind,
        WellKnownCa,
    },
    model::{AlternativeName, BackendTls, Origination, Roots},
    value::{Certificates, Name, ServiceName},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    Finding, Reason,
    index::{Aged, Index},
};

/// A Service, or one port of it by name.
type Target = (ServiceName, Option<Name>);

/// Which policy holds what: the earliest accepted, for each exact target.
#[derive(Debug, Default)]
pub(super) struct BackendTlsPolicies<'a> {
    holders: BTreeMap<Target, Aged<'a, BackendTlsPolicy>>,
    /// What policies are meant for that never were valid.
    denied: BTreeMap<(TargetKind, ServiceName), String>,
}

impl<'a> BackendTlsPolicies<'a> {
    pub(super) fn new(index: &Index<'a>, findings: &mut Vec<Finding>) -> Self {
        let mut policies = Self::default();
        for policy in &index.backend_tls {
            policies.add(index, *policy, findings);
            if let Err(why) = roots(index, policy.object) {
                findings.push(Finding {
                    object: policy.key.clone(),
                    reason: Reason::RefNotResolved,
                    message: format!("requests to what it targets get 503: {why}"),
                });
            }
        }
        let denied = index.denied.iter();
        for (key, denied) in denied.filter(|(key, _)| key.kind == Kind::BackendTlsPolicy) {
            for target in &denied.targets {
                let name = ServiceName {
                    namespace: key.namespace.clone(),
                    name: target.name.clone(),
                };
                let why = format!("{key} is to say how, and no version of it was ever valid");
                policies.denied.insert((target.kind, name), why);
            }
        }
        policies
    }

    fn add(
        &mut self,
        index: &Index<'a>,
        policy: Aged<'a, BackendTlsPolicy>,
        findings: &mut Vec<Finding>,
    ) {
        for reference in &policy.object.spec.target_refs {
            let name = ServiceName {
                namespace: policy.key.namespace.clone(),
                name: reference.name.clone(),
            };
            let target = (name.clone(), reference.section_name.clone());
            let mut report = |reason, message| {
                findings.push(Finding {
                    object: policy.key.clone(),
                    reason,
                    message,
                });
            };
            if let Err((reason, message)) = applies(index, &target) {
                report(reason, message);
                // Whatever of it is not there yet is held all the same.
            }
            match self.holders.get(&target) {
                Some(holder) if holder.key == policy.key => {}
                Some(holder) => report(
                    Reason::Conflicted,
                    format!(
                        "{} is held by {}, which is older",
                        describe(&target),
                        holder.key
                    ),
                ),
                None => drop(self.holders.insert(target, policy)),
            }
        }
    }

    /// What one port's endpoints are asked for.
    pub(super) fn of_port(
        &self,
        index: &Index<'_>,
        service: &kind::Service,
        port: &kind::ServicePort,
    ) -> Option<BackendTls> {
        if is_meshed(index, service) || is_tls_already(port) {
            return None;
        }
        let name = service.full_name();
        let own = port.name.as_ref().and_then(|section| {
            let target = (name.clone(), Some(section.clone()));
            self.holders.get(&target)
        });
        if let Some(policy) = own.or_else(|| self.holders.get(&(name.clone(), None))) {
            return Some(said(index, policy.object));
        }
        let namespace = ServiceName {
            namespace: name.namespace.clone(),
            name: name.namespace.clone(),
        };
        let places = [
            (TargetKind::Service, name),
            (TargetKind::Namespace, namespace),
        ];
        let denied = places.iter().find_map(|place| self.denied.get(place));
        denied.map(|why| BackendTls::Refused(why.clone()))
    }

    /// Who says something about a service.
    pub(super) fn about(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = &'a BackendTlsPolicy> {
        let holders = self.holders.iter();
        holders
            .filter(move |((name, _), _)| name == service)
            .map(|(_, policy)| policy.object)
    }
}

/// Between sidecars the mesh's own TLS is spoken.
fn is_meshed(index: &Index<'_>, service: &kind::Service) -> bool {
    index.selected(service).next().is_some()
}

/// Callers open it themselves, and the mesh carries it unopened.
fn is_tls_already(port: &kind::ServicePort) -> bool {
    port.app_protocol == Some(AppProtocol::Tls)
}

fn describe((name, section): &Target) -> String {
    match section {
        None => format!("Service {name}"),
        Some(section) => format!("port {section} of Service {name}"),
    }
}

/// Whether there is anything that a policy for this target would change, or why not.
fn applies(index: &Index<'_>, target: &Target) -> Result<(), (Reason, String)> {
    let described = describe(target);
    let (name, section) = target;
    let Some(service) = index.services.get(name) else {
        let message = format!("Service {name} does not exist");
        return Err((Reason::TargetNotFound, message));
    };
    let is_meant = |port: &&kind::ServicePort| section.is_none() || port.name == *section;
    let mut ports = service.spec.ports.iter().filter(is_meant).peekable();
    if ports.peek().is_none() {
        let message = format!("{described} does not exist");
        return Err((Reason::TargetNotFound, message));
    }
    if is_meshed(index, service) {
        let message =
            format!("{described} has sidecars: between them the mesh's own TLS is spoken");
        return Err((Reason::NotEnforced, message));
    }
    match ports.find(|port| is_tls_already(port)) {
        None => Ok(()),
        Some(port) => Err((
            Reason::NotEnforced,
            format!(
                "callers of port {} of Service {name} open TLS themselves (appProtocol); for TLS that sidecars open it is http, http2 or grpc, as what is spoken inside",
                port.port
            ),
        )),
    }
}

fn said(index: &Index<'_>, policy: &BackendTlsPolicy) -> BackendTls {
    let validation = &policy.spec.validation;
    match roots(index, policy) {
        Err(why) => BackendTls::Refused(format!("BackendTLSPolicy {}: {why}", policy.full_name())),
        Ok(roots) => BackendTls::Verified(Origination {
            hostname: validation.hostname.clone(),
            names: validation
                .subject_alt_names
                .iter()
                .filter_map(name)
                .collect(),
            roots,
        }),
    }
}

/// `None` cannot be: the one of its type is there.
fn name(written: &SubjectAltName) -> Option<AlternativeName> {
    let dns = written.hostname.clone().map(AlternativeName::Dns);
    dns.or_else(|| written.uri.clone().map(AlternativeName::Uri))
}

fn roots(index: &Index<'_>, policy: &BackendTlsPolicy) -> Result<Roots, String> {
    let validation = &policy.spec.validation;
    if let Some(WellKnownCa::System) = validation.well_known_ca_certificates {
        return Ok(Roots::Web);
    }
    let mut pem = String::new();
    for CaCertificateRef { name, .. } in &validation.ca_certificate_refs {
        let name = ServiceName {
            namespace: policy.metadata.namespace.clone(),
            name: name.clone(),
        };
        let Some(map) = index.config_maps.get(&name) else {
            return Err(format!("there is no ConfigMap {name} with the key ca.crt"));
        };
        let certificates = &map.spec.data.ca_crt;
        for (der, number) in certificates.der().iter().zip(1..) {
            let read = X509Certificate::from_der(der);
            read.map_err(|error| {
                format!("certificate {number} of ConfigMap {name} cannot be read: {error}")
            })?;
        }
        pem.push_str(&certificates.to_string());
    }
    let all = pem.parse::<Certificates>();
    all.map(Roots::Given)
        .map_err(|error| format!("of its certificates together: {}", error.allowed))
}
