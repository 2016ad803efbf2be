//! Routes for connections: whether their parents have any, and where those go.

use crate::{
    kind::{Choice as _, Kind, ParentKind, ParentRef, ServicePort, StreamRule},
    parse::Severity,
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
            }
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
