//! What an EndpointSlice or BackendTLSPolicy says without effect.

use crate::{
    kind::{BackendTlsPolicySpec, EndpointSlice, SERVICE_NAME_LABEL, Service},
    parse::{Severity, report::nearest},
    value::{Name, ServiceName},
};

use super::{Check, listed};

impl Check<'_, '_> {
    pub(super) fn endpoint_slice(&mut self, slice: &EndpointSlice) {
        let label = format!("metadata.labels.{SERVICE_NAME_LABEL}");
        let name = match slice.service().map(str::parse::<Name>) {
            Some(Ok(name)) => name,
            written => {
                let found = match written {
                    None => format!(
                        "no label `{SERVICE_NAME_LABEL}`: nobody is called at these addresses"
                    ),
                    Some(_) => "what is no name of a Service".to_owned(),
                };
                let (field, allowed) = match written {
                    None => (
                        "metadata.labels".to_owned(),
                        "the label, with the name of a Service in this namespace",
                    ),
                    Some(_) => (label, "the name of a Service in this namespace"),
                };
                self.add(Severity::Warning, &field, (found, allowed.to_owned()), None);
                return;
            }
        };
        let name = ServiceName {
            namespace: self.namespace().clone(),
            name,
        };
        let Some(service) = self.known_service(&name, &label, Severity::Warning) else {
            return;
        };
        if !service.spec.selector.is_empty() {
            let found = format!(
                "`{}`, which has a selector: its instances register themselves",
                name.name
            );
            let words = (found, "a Service without a selector".to_owned());
            self.add(Severity::Warning, &label, words, None);
            return;
        }
        for (port, at) in slice.spec.ports.iter().zip(0..) {
            if has_port(service, port.name.as_ref()) {
                continue;
            }
            let names = service
                .spec
                .ports
                .iter()
                .filter_map(|port| port.name.as_ref());
            let names: Vec<_> = names.map(Name::as_str).collect();
            let written = port.name.as_ref().map_or("", Name::as_str);
            let near = nearest(written, names.iter().copied());
            let found = format!("`{written}`, which names no port of Service `{name}`");
            let field = format!("ports[{at}].name");
            self.add(Severity::Warning, &field, (found, listed(&names)), near);
        }
    }

    pub(super) fn backend_tls(&mut self, spec: &BackendTlsPolicySpec) {
        for (target, at) in spec.target_refs.iter().zip(0..) {
            let name = ServiceName {
                namespace: self.namespace().clone(),
                name: target.name.clone(),
            };
            let service = self.index.services.get(&name).copied().flatten();
            if service.is_some_and(|service| self.index.selects_some(service)) {
                let found = format!("`{}`, whose instances have sidecars", target.name);
                let allowed =
                    "a Service without a selector: between sidecars the mesh's own TLS is spoken";
                let field = format!("spec.targetRefs[{at}].name");
                self.add(Severity::Warning, &field, (found, allowed.to_owned()), None);
            }
        }
        for (reference, at) in spec.validation.ca_certificate_refs.iter().zip(0..) {
            let name = ServiceName {
                namespace: self.namespace().clone(),
                name: reference.name.clone(),
            };
            if self.index.config_maps.contains(&name) {
                continue;
            }
            let own = self
                .index
                .config_maps
                .iter()
                .filter(|map| map.namespace == name.namespace);
            let known: Vec<_> = own.map(|map| map.name.as_str()).collect();
            let near = nearest(name.name.as_str(), known.iter().copied());
            let found = format!(
                "`{}`, but there is no ConfigMap `{name}` with the key `ca.crt`",
                name.name
            );
            let field = format!("spec.validation.caCertificateRefs[{at}].name");
            let allowed = format!(
                "a ConfigMap in this namespace whose `data` has `ca.crt`; there is: {}",
                listed(&known)
            );
            self.add(Severity::Warning, &field, (found, allowed), near);
        }
    }
}

/// Whether the Service has a port of this name; one alone may have none.
fn has_port(service: &Service, name: Option<&Name>) -> bool {
    service
        .spec
        .ports
        .iter()
        .any(|port| port.name.as_ref() == name)
}
