//! Routes for connections: whether their parents have any, and where those go.

use crate::{
    kind::{BackendRef, Choice as _, Kind, ParentKind, ParentRef, ServicePort, StreamRule},
    parse::Severity,
    value::{Port, ServiceName},
};

use super::Check;

impl Check<'_, '_> {
    pub(super) fn stream_route(&mut self, parents: &[ParentRef], rules: &[StreamRule]) {
        self.parents(parents);
        self.connections(parents);
        let parent = self.only_parent(parents);
        for (rule, number) in rules.iter().zip(0..) {
            for (backend, at) in rule.backend_refs.iter().zip(0..) {
                let field = format!("spec.rules[{number}].backendRefs[{at}]");
                let name = backend.service(self.namespace());
                // As for requests: callers of the parent go there anyway.
                self.backend(&name, backend.port, &field, parent.as_ref() == Some(&name));
                self.takes_bytes(&name, backend.port, &field);
            }
            let nothing = "every connection is reset";
            self.weights(rule.backend_refs.iter(), number, nothing);
            self.elsewhere(parents, &rule.backend_refs, number);
        }
    }

    /// Whether a backend's port carries connections.
    fn takes_bytes(&mut self, name: &ServiceName, port: Port, field: &str) {
        let declared = self.declared(name, port);
        if let Some(declared) = declared.filter(|declared| !declared.is_opaque()) {
            let word = declared.word();
            let found = format!(
                "`{port}`, which takes requests only (appProtocol: {word}): connections that are led there are reset"
            );
            let allowed = "a port for connections: appProtocol tcp or tls, or none".to_owned();
            let field = format!("{field}.port");
            self.add(Severity::Warning, &field, (found, allowed), None);
        }
    }

    /// Whether a TCPRoute leads anywhere but where connections go without it. Back to its parent is a way of its own for a
    /// consumer route (the owner's is not followed), and for one that leads to another port.
    fn elsewhere(&mut self, parents: &[ParentRef], backends: &[BackendRef], rule: usize) {
        let own = self.namespace();
        let kind = self.located.object.kind();
        let parent = self.only_parent(parents);
        let Some(parent) = parent.filter(|name| kind == Kind::TcpRoute && name.namespace == *own)
        else {
            return;
        };
        let service = self.index.services.get(&parent).copied().flatten();
        let ports = service.into_iter().flat_map(|service| &service.spec.ports);
        let mut ports = ports
            .filter(|port| port.carries(kind) && parents.iter().any(|parent| parent.means(port)));
        let (Some(only), None) = (ports.next(), ports.next()) else {
            return;
        };
        let mut taking = backends.iter().filter(|backend| backend.weight.get() > 0);
        let back =
            |backend: &BackendRef| backend.service(own) == parent && backend.port == only.port;
        if taking.clone().next().is_some() && taking.all(back) {
            let found = format!(
                "only port {} of Service `{parent}`, the route's own parent: it changes nothing",
                only.port
            );
            let allowed = "a backend elsewhere, or no route".to_owned();
            let field = format!("spec.rules[{rule}].backendRefs");
            self.add(Severity::Warning, &field, (found, allowed), None);
        }
    }

    /// Whether the parents' ports carry connections: to one that declares HTTP there are only requests.
    fn connections(&mut self, parents: &[ParentRef]) {
        for (parent, at) in parents.iter().zip(0..) {
            let name = parent.parent(self.namespace());
            let service = self.index.services.get(&name).copied().flatten();
            let Some(service) = service.filter(|_| parent.kind == ParentKind::Service) else {
                continue;
            };
            let kind = self.located.object.kind();
            let ports = service.spec.ports.iter();
            let meant: Vec<&ServicePort> = ports.filter(|port| parent.means(port)).collect();
            let carrying: Vec<_> = meant.iter().filter(|port| port.carries(kind)).collect();
            let field = match (parent.port, &parent.section_name) {
                (Some(_), _) => format!("spec.parentRefs[{at}].port"),
                (None, Some(_)) => format!("spec.parentRefs[{at}].sectionName"),
                (None, None) => format!("spec.parentRefs[{at}].name"),
            };
            if let (Some(port), []) = (meant.first(), carrying.as_slice()) {
                let declared = port.app_protocol.map_or("", |declared| declared.word());
                let number = port.port;
                let found = match meant.len() {
                    1 => format!(
                        "port {number}, to which there are only requests (appProtocol: {declared})"
                    ),
                    _ => format!(
                        "Service `{name}`, to whose ports there are only requests (appProtocol)"
                    ),
                };
                let allowed = "a port for connections: appProtocol tcp or tls, or none";
                self.add(Severity::Error, &field, (found, allowed.to_owned()), None);
                continue;
            }
            let undeclared = carrying.iter().find(|port| port.app_protocol.is_none());
            if let Some(port) = undeclared {
                let number = port.port;
                let found = format!(
                    "port {number}, which declares no appProtocol: what begins as HTTP does not follow this route"
                );
                let allowed = if kind == Kind::TcpRoute {
                    "a port that declares appProtocol tcp or tls, if HTTP is to follow, too"
                } else {
                    "a port that declares appProtocol tls or tcp, if HTTP is to be refused"
                };
                self.add(Severity::Warning, &field, (found, allowed.to_owned()), None);
            }
        }
    }
}
