//! BackendTLSPolicies → the TLS of each port that has one. Where one is meant and cannot be verified, nothing is sent.

use std::collections::BTreeMap;

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName};
use usher_config::{
    kind::{
        self, AppProtocol, BackendTlsPolicy, CaCertificateRef, Kind, ObjectKey, SubjectAltName,
        TargetKind, WellKnownCa,
    },
    model::{AlternativeName, BackendTls, Origination, Roots},
    value::{Certificates, Name, ServiceName},
};

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
            let origination = origination(index, policy.object);
            let mut report = |reason, message| {
                findings.push(Finding {
                    object: policy.key.clone(),
                    reason,
                    message,
                });
            };
            if !origination.unresolved.is_empty() {
                report(Reason::RefNotResolved, origination.unresolved.join("; "));
            }
            if let Err(why) = &origination.usable {
                let message = format!("nothing is sent to what it targets (503, flag UF): {why}");
                report(Reason::NoValidCaCertificate, message);
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
        if let Some(why) = self.misnamed(service, &name) {
            return Some(BackendTls::Refused(why));
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

    /// A policy for a port that there is not (yet, or any more) was meant for one of those that there are.
    fn misnamed(&self, service: &kind::Service, name: &ServiceName) -> Option<String> {
        let is_there = |section: &Name| {
            let mut names = service.spec.ports.iter().map(|port| port.name.as_ref());
            names.any(|known| known == Some(section))
        };
        self.holders.iter().find_map(|((of, section), policy)| {
            let section = section.as_ref()?;
            let is_meant = of == name && !is_there(section);
            is_meant.then(|| {
                format!(
                    "{} is for its port {section}, which there is not",
                    policy.key
                )
            })
        })
    }

    /// Who decides about a port's TLS.
    pub(super) fn holder(
        &self,
        service: &kind::Service,
        port: &kind::ServicePort,
    ) -> Option<&'a ObjectKey> {
        let name = service.full_name();
        let own = self.holders.get(&(name.clone(), port.name.clone()));
        let all = || self.holders.get(&(name, None));
        own.or_else(all).map(|policy| policy.key)
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
    match ports.find(|port| !is_tls_already(port)) {
        Some(_) => Ok(()),
        None => Err((
            Reason::NotEnforced,
            format!(
                "callers of {described} open TLS themselves (appProtocol); for TLS that sidecars open it is http, http2 or grpc, as what is spoken inside"
            ),
        )),
    }
}

fn said(index: &Index<'_>, policy: &BackendTlsPolicy) -> BackendTls {
    match origination(index, policy).usable {
        Ok(tls) => BackendTls::Verified(tls),
        Err(why) => {
            let name = policy.full_name();
            BackendTls::Refused(format!("BackendTLSPolicy {name}: {why}"))
        }
    }
}

/// What a policy asks for.
struct Asked {
    /// References that lead to no certificate. The others count all the same: fewer roots let in nobody.
    unresolved: Vec<String>,
    /// Or why nothing can be verified.
    usable: Result<Origination, String>,
}

fn origination(index: &Index<'_>, policy: &BackendTlsPolicy) -> Asked {
    let validation = &policy.spec.validation;
    let (roots, unresolved) = match validation.well_known_ca_certificates {
        Some(WellKnownCa::System) => (Ok(Roots::Web), Vec::new()),
        None => given(index, policy),
    };
    let names: Vec<AlternativeName> = validation
        .subject_alt_names
        .iter()
        .filter_map(name)
        .collect();
    let dns = names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name),
        AlternativeName::Uri(_) => None,
    });
    let mut dns = dns.chain([&validation.hostname]);
    // What proxies could not ask for (its last label is a number) is said here.
    let unusable = dns.find(|name| ServerName::try_from(name.as_str()).is_err());
    let usable = match unusable {
        Some(name) => Err(format!("{name} is no name that a server can be asked for")),
        None => roots.map(|roots| Origination {
            hostname: validation.hostname.clone(),
            names: names.clone(),
            roots,
        }),
    };
    Asked { unresolved, usable }
}

/// `None` cannot be: the one of its type is there.
fn name(written: &SubjectAltName) -> Option<AlternativeName> {
    let dns = written.hostname.clone().map(AlternativeName::Dns);
    dns.or_else(|| written.uri.clone().map(AlternativeName::Uri))
}

/// The certificates that it refers to, as far as they are there and a proxy could believe in them.
fn given(index: &Index<'_>, policy: &BackendTlsPolicy) -> (Result<Roots, String>, Vec<String>) {
    let (mut pem, mut unresolved) = (String::new(), Vec::new());
    for CaCertificateRef { name, .. } in &policy.spec.validation.ca_certificate_refs {
        let name = ServiceName {
            namespace: policy.metadata.namespace.clone(),
            name: name.clone(),
        };
        match index
            .config_maps
            .get(&name)
            .map(|map| &map.spec.data.ca_crt)
        {
            None => unresolved.push(format!("there is no ConfigMap {name} with the key ca.crt")),
            Some(certificates) => match unreadable(certificates) {
                Some((number, why)) => unresolved.push(format!(
                    "certificate {number} of ConfigMap {name} cannot be used: {why}"
                )),
                None => pem.push_str(&certificates.to_string()),
            },
        }
    }
    if pem.is_empty() {
        return (Err(unresolved.join("; ")), unresolved);
    }
    let all = pem.parse::<Certificates>();
    let all = all.map_err(|error| format!("of its certificates together: {}", error.allowed));
    (all.map(Roots::Given), unresolved)
}

/// The first, counted from 1, that no proxy could believe in. Its dates are not looked at, nor do proxies: whoever lists a
/// root believes in it until it is taken out.
fn unreadable(certificates: &Certificates) -> Option<(usize, String)> {
    let mut store = RootCertStore::empty();
    let numbered = certificates.der().iter().zip(1..);
    numbered.into_iter().find_map(|(der, number)| {
        let added = store.add(CertificateDer::from(der.as_slice()));
        added.err().map(|error| (number, error.to_string()))
    })
}
