//! Routes: whose requests they take, and where those go.

use crate::{
    kind::{
        AppProtocol, BackendObject, BackendRef, Choice as _, GrpcFilter, GrpcRouteSpec, HttpFilter,
        HttpRouteSpec, ParentKind, ParentRef,
    },
    parse::Severity,
    value::{Hostname, Port, ServiceName},
};

use super::Check;

impl Check<'_, '_> {
    pub(super) fn http_route(&mut self, spec: &HttpRouteSpec) {
        self.parents(&spec.parent_refs);
        self.hostnames(&spec.parent_refs, &spec.hostnames);
        let parent = self.only_parent(&spec.parent_refs);
        for (rule, at) in spec.rules.iter().zip(0..) {
            let refs = rule.backend_refs.iter().map(|entry| &entry.backend);
            self.weights(refs.clone(), at, "every request gets 500");
            self.http_backends(refs, at, parent.as_ref());
            self.mirrors(http_mirrors(&rule.filters), &format!("spec.rules[{at}]"));
            for (entry, number) in rule.backend_refs.iter().zip(0..) {
                let field = format!("spec.rules[{at}].backendRefs[{number}]");
                self.mirrors(http_mirrors(&entry.filters), &field);
            }
        }
    }

    pub(super) fn grpc_route(&mut self, spec: &GrpcRouteSpec) {
        self.parents(&spec.parent_refs);
        self.hostnames(&spec.parent_refs, &spec.hostnames);
        let parent = self.only_parent(&spec.parent_refs);
        for (rule, at) in spec.rules.iter().zip(0..) {
            let refs = rule.backend_refs.iter().map(|entry| &entry.backend);
            self.weights(refs.clone(), at, "every request gets 500");
            self.http_backends(refs, at, parent.as_ref());
            self.mirrors(grpc_mirrors(&rule.filters), &format!("spec.rules[{at}]"));
            for (entry, number) in rule.backend_refs.iter().zip(0..) {
                let field = format!("spec.rules[{at}].backendRefs[{number}]");
                self.mirrors(grpc_mirrors(&entry.filters), &field);
            }
        }
    }

    /// Whose callers alone the route is for.
    pub(super) fn only_parent(&self, parents: &[ParentRef]) -> Option<ServiceName> {
        let own = self.namespace();
        let service =
            |parent: &ParentRef| (parent.kind == ParentKind::Service).then(|| parent.parent(own));
        let first = parents.first().and_then(service)?;
        let same = |parent| service(parent).as_ref() == Some(&first);
        parents.iter().all(same).then_some(first)
    }

    fn hostnames(&mut self, parents: &[ParentRef], hostnames: &[Hostname]) {
        let services = parents
            .iter()
            .all(|parent| parent.kind == ParentKind::Service);
        if services && !hostnames.is_empty() {
            let found = "host names, though all its parents are Services".to_owned();
            let allowed =
                "none, as they have no effect there; a match of the header `Host` has".to_owned();
            self.add(Severity::Warning, "spec.hostnames", (found, allowed), None);
        }
    }

    fn http_backends<'b>(
        &mut self,
        backends: impl Iterator<Item = &'b BackendRef>,
        rule: usize,
        parent: Option<&ServiceName>,
    ) {
        for (backend, at) in backends.zip(0..) {
            let field = format!("spec.rules[{rule}].backendRefs[{at}]");
            let name = backend.service(self.namespace());
            // Callers of the parent go there anyway: a consumer route only says how.
            self.backend(&name, backend.port, &field, parent == Some(&name));
            let declared = self.declared(&name, backend.port);
            if let Some(opaque) = declared.filter(|declared| declared.is_opaque()) {
                let found = format!(
                    "`{}`, which carries no HTTP (appProtocol: {})",
                    backend.port,
                    opaque.word()
                );
                let allowed = "a port that carries HTTP".to_owned();
                let field = format!("{field}.port");
                self.add(Severity::Warning, &field, (found, allowed), None);
            }
        }
    }

    /// What a port of a service says that it carries.
    pub(super) fn declared(&self, name: &ServiceName, port: Port) -> Option<AppProtocol> {
        let service = self.index.services.get(name).copied().flatten()?;
        let mut ports = service.spec.ports.iter();
        ports.find(|declared| declared.port == port)?.app_protocol
    }

    /// Whether some backend of a rule takes anything.
    pub(super) fn weights<'b>(
        &mut self,
        mut backends: impl Iterator<Item = &'b BackendRef> + Clone,
        rule: usize,
        nothing: &str,
    ) {
        let some = backends.clone().next().is_some();
        if some && backends.all(|backend| backend.weight.get() == 0) {
            let found = format!("weights that are all 0: {nothing}");
            let allowed = "a weight above 0 for one of them at least".to_owned();
            let field = format!("spec.rules[{rule}].backendRefs");
            self.add(Severity::Warning, &field, (found, allowed), None);
        }
    }

    fn mirrors(&mut self, mirrors: Vec<(usize, &BackendObject)>, field: &str) {
        for (at, backend) in mirrors {
            let field = format!("{field}.filters[{at}].requestMirror.backendRef");
            let name = backend.service(self.namespace());
            self.backend(&name, backend.port, &field, false);
        }
    }
}

fn http_mirrors(filters: &[HttpFilter]) -> Vec<(usize, &BackendObject)> {
    let mirrors = filters.iter().enumerate();
    mirrors
        .filter_map(|(at, filter)| Some((at, filter.mirror()?)))
        .collect()
}

fn grpc_mirrors(filters: &[GrpcFilter]) -> Vec<(usize, &BackendObject)> {
    let mirrors = filters.iter().enumerate();
    mirrors
        .filter_map(|(at, filter)| Some((at, filter.mirror()?)))
        .collect()
}
