//! References to gateways, and a gateway's own to those who run it.

use crate::{
    kind::{Gateway, Granted, Kind, Listener, ParentRef},
    parse::{Severity, report::nearest},
    value::{Name, ServiceName},
};

use super::{Check, listed};

impl<'a> Check<'a, '_> {
    /// Without a Workload of its name nobody may run it; certificates of others take their word.
    pub(super) fn gateway(&mut self, gateway: &Gateway) {
        for (listener, at) in gateway.spec.listeners.iter().zip(0..) {
            let refs = listener.tls.iter().flat_map(|tls| &tls.certificate_refs);
            for (certificate, number) in refs.zip(0..) {
                let field = format!("spec.listeners[{at}].tls.certificateRefs[{number}]");
                let named = certificate.full_name(self.namespace());
                self.granted(Kind::Gateway, (Granted::Secret, &named), &field);
            }
        }
        let name = gateway.full_name();
        let known = self.index.workloads.contains(&name) || self.index.services.contains_key(&name);
        if known || self.index.partial {
            return;
        }
        let words = (
            format!("`{}`, but there is no Workload `{name}`", name.name),
            "the name of a Workload, whose serviceAccount is the gateway's identity".to_owned(),
        );
        self.add(Severity::Warning, "metadata.name", words, None);
    }

    /// A policy's.
    pub(super) fn gateway_target(&mut self, name: &ServiceName, field: &str) {
        self.known_gateway(name, field, "");
    }

    /// The gateway, if it is there (inside: and readable); its absence is reported, with more of what is allowed.
    fn known_gateway(
        &mut self,
        name: &ServiceName,
        field: &str,
        more: &str,
    ) -> Option<Option<&'a Gateway>> {
        let index = self.index;
        if let Some(gateway) = index.gateways.get(name) {
            return Some(*gateway);
        }
        let of_namespace = index.gateways.keys();
        let of_namespace = of_namespace.filter(|other| other.namespace == name.namespace);
        let known: Vec<_> = of_namespace.map(|other| other.name.as_str()).collect();
        let near = nearest(name.name.as_str(), known.iter().copied());
        let found = format!("`{}`, but there is no Gateway `{name}`", name.name);
        let words = (found, format!("{}{more}", listed(&known)));
        self.add(Severity::Error, field, words, near);
        None
    }

    /// The gateway, its listener and its port. Whose routes it takes is its own affair, and known where all is compiled.
    pub(super) fn gateway_parent(&mut self, parent: &ParentRef, name: &ServiceName, field: &str) {
        let service = if self.index.services.contains_key(name) {
            "; for the Service of that name write `group: \"\"` and `kind: Service`"
        } else {
            ""
        };
        let known = self.known_gateway(name, &format!("{field}.name"), service);
        let Some(Some(gateway)) = known else { return };
        let listeners = &gateway.spec.listeners;
        if let Some(section) = &parent.section_name
            && listeners.iter().all(|listener| listener.name != *section)
        {
            let names: Vec<_> = listeners
                .iter()
                .map(|listener| listener.name.as_str())
                .collect();
            let near = nearest(section.as_str(), names.iter().copied());
            let found = format!("`{section}`, which names no listener of Gateway `{name}`");
            let field = format!("{field}.sectionName");
            return self.add(Severity::Error, &field, (found, listed(&names)), near);
        }
        let meant = |listener: &&Listener| {
            let named = |section: &Name| listener.name == *section;
            parent.section_name.as_ref().is_none_or(named)
        };
        if let Some(port) = parent.port
            && listeners
                .iter()
                .filter(meant)
                .all(|listener| listener.port != port)
        {
            let ports: Vec<_> = listeners
                .iter()
                .filter(meant)
                .map(|l| l.port.to_string())
                .collect();
            let found =
                format!("`{port}`, which is no port of such a listener of Gateway `{name}`");
            let words = (found, ports.join(", "));
            self.add(Severity::Error, &format!("{field}.port"), words, None);
        }
    }
}
