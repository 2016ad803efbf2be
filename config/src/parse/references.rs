//! Checks across objects: what one object can only be wrong about together with others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    kind::{Kind, Object, ObjectKey, ParentRef, PolicyKind, Service, TargetKind, TargetRef},
    value::{Name, Port, ServiceName},
};

use super::fields::nearest;
use super::{Located, Mistake, Parsed, Rejected, Related, Severity};

/// Adds the mistakes between objects to `parsed`. Of duplicates and of several meshes the first stays.
pub(super) fn check(parsed: &mut Parsed) {
    drop_duplicates(parsed);
    drop_second_mesh(parsed);
    let index = Index::new(parsed);
    let mut mistakes = Vec::new();
    for located in &parsed.objects {
        let mut check = Check { located, index: &index, mistakes: &mut mistakes };
        match &located.object {
            Object::Service(service) => check.service(service),
            Object::HttpRoute(route) => {
                check.parents(&route.spec.parent_refs);
                for (rule, at) in route.spec.rules.iter().zip(0..) {
                    check.backends(&rule.backend_refs, at);
                }
            }
            Object::GrpcRoute(route) => {
                check.parents(&route.spec.parent_refs);
                for (rule, at) in route.spec.rules.iter().zip(0..) {
                    check.backends(&rule.backend_refs, at);
                }
            }
            Object::TrafficPolicy(policy) => {
                check.targets(&policy.spec.target_refs);
                check.fallback(policy.spec.fallback.as_ref());
            }
            Object::AccessPolicy(policy) => check.targets(&policy.spec.target_refs),
            Object::Mesh(_) | Object::Workload(_) => {}
        }
    }
    conflicts(&parsed.objects, &mut mistakes);
    addresses(&parsed.objects, &mut mistakes);
    parsed.mistakes.append(&mut mistakes);
}

/// What exists.
struct Index<'a> {
    services: BTreeMap<ServiceName, Option<&'a Service>>,
    /// Rule names of routes; `None` for a route that is rejected.
    routes: BTreeMap<(TargetKind, ServiceName), Option<BTreeSet<&'a Name>>>,
    mesh: Option<&'a Name>,
    labels: HashMap<&'a Name, Vec<&'a BTreeMap<String, String>>>,
    /// Some Workload is rejected or some file unreadable: silence about what may be in there.
    partial: bool,
}

impl<'a> Index<'a> {
    fn new(parsed: &'a Parsed) -> Self {
        let mut index = Self {
            services: BTreeMap::new(),
            routes: BTreeMap::new(),
            mesh: None,
            labels: HashMap::new(),
            partial: !parsed.unreadable.is_empty(),
        };
        // Rejected objects exist too: one mistake should not be followed by ten that it caused.
        for Rejected { key, .. } in &parsed.rejected {
            let name = ServiceName { namespace: key.namespace.clone(), name: key.name.clone() };
            match key.kind {
                Kind::Service => drop(index.services.insert(name, None)),
                Kind::HttpRoute => drop(index.routes.insert((TargetKind::HttpRoute, name), None)),
                Kind::GrpcRoute => drop(index.routes.insert((TargetKind::GrpcRoute, name), None)),
                Kind::Mesh => index.mesh = Some(&key.name),
                Kind::Workload => index.partial = true,
                Kind::TrafficPolicy | Kind::AccessPolicy => {}
            }
        }
        for located in &parsed.objects {
            index.add(&located.object);
        }
        index
    }

    fn add(&mut self, object: &'a Object) {
        match object {
            Object::Mesh(mesh) => self.mesh = Some(&mesh.metadata.name),
            Object::Service(service) => {
                self.services.insert(service.full_name(), Some(service));
            }
            Object::Workload(workload) => {
                self.labels.entry(&workload.metadata.namespace).or_default().push(&workload.metadata.labels);
            }
            Object::HttpRoute(route) => {
                let rules = route.spec.rules.iter().filter_map(|rule| rule.name.as_ref()).collect();
                self.routes.insert((TargetKind::HttpRoute, route.full_name()), Some(rules));
            }
            Object::GrpcRoute(route) => {
                let rules = route.spec.rules.iter().filter_map(|rule| rule.name.as_ref()).collect();
                self.routes.insert((TargetKind::GrpcRoute, route.full_name()), Some(rules));
            }
            Object::TrafficPolicy(_) | Object::AccessPolicy(_) => {}
        }
    }

    fn services_of(&self, namespace: &Name) -> Vec<&Name> {
        self.services.keys().filter(|key| key.namespace == *namespace).map(|key| &key.name).collect()
    }
}

/// The checks of one object.
struct Check<'a, 'm> {
    located: &'a Located,
    index: &'a Index<'a>,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'a> Check<'a, '_> {
    fn namespace(&self) -> &'a Name {
        &self.located.object.metadata().namespace
    }

    fn add(&mut self, severity: Severity, field: &str, words: (String, String), nearest: Option<String>) {
        let mut mistake = mistake(self.located, severity, field, words);
        mistake.nearest = nearest;
        self.mistakes.push(mistake);
    }

    fn service(&mut self, service: &Service) {
        let selector = &service.spec.selector;
        let workloads = self.index.labels.get(self.namespace());
        let selected = workloads.is_some_and(|all| all.iter().any(|labels| service.spec.selects(labels)));
        if selected || self.index.partial {
            return;
        }
        let pairs: Vec<_> = selector.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let found = match pairs.is_empty() {
            true => "no selector: nobody can answer as this service".to_owned(),
            false => format!("`{}`, which selects no Workload in `{}`", pairs.join(", "), self.namespace()),
        };
        let allowed = "labels that some Workload carries".to_owned();
        self.add(Severity::Warning, "spec.selector", (found, allowed), None);
    }

    fn parents(&mut self, parents: &[ParentRef]) {
        for (parent, at) in parents.iter().zip(0..) {
            let field = format!("spec.parentRefs[{at}]");
            let name = parent.service(self.namespace());
            let Some(service) = self.known_service(&name, &format!("{field}.name"), Severity::Error) else {
                continue;
            };
            if let Some(port) = parent.port {
                self.port(service, port, &format!("{field}.port"), Severity::Error);
            }
            let Some(section) = &parent.section_name else { continue };
            if service.spec.ports.iter().all(|port| port.name.as_ref() != Some(section)) {
                let names: Vec<_> =
                    service.spec.ports.iter().filter_map(|port| port.name.as_ref()).map(Name::as_str).collect();
                let near = nearest(section.as_str(), names.iter().copied());
                let found = format!("`{section}`, which names no port of Service `{name}`");
                let words = (found, listed(&names));
                self.add(Severity::Error, &format!("{field}.sectionName"), words, near);
            }
        }
    }

    fn backends(&mut self, backends: &[crate::kind::BackendRef], rule: usize) {
        for (backend, at) in backends.iter().zip(0..) {
            let field = format!("spec.rules[{rule}].backendRefs[{at}]");
            self.backend(&backend.service(self.namespace()), backend.port, &field);
        }
    }

    fn fallback(&mut self, fallback: Option<&crate::kind::Fallback>) {
        if let Some(crate::kind::FallbackTarget::BackendRef(target)) = fallback.map(|fallback| &fallback.target) {
            self.backend(&target.service(self.namespace()), target.port, "spec.fallback.backendRef");
        }
    }

    /// Only a warning: a reference that leads nowhere is data (its share of requests gets 500), and the Service
    /// may be written a moment later.
    fn backend(&mut self, name: &ServiceName, port: Port, field: &str) {
        if let Some(service) = self.known_service(name, &format!("{field}.name"), Severity::Warning) {
            self.port(service, port, &format!("{field}.port"), Severity::Warning);
        }
    }

    /// The service, if it is there and readable; its absence is reported.
    fn known_service(&mut self, name: &ServiceName, field: &str, severity: Severity) -> Option<&'a Service> {
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
        if service.spec.ports.iter().any(|declared| declared.port == port) {
            return;
        }
        let numbers: Vec<_> = service.spec.ports.iter().map(|port| port.port.to_string()).collect();
        let found = format!("`{port}`, which is no port of Service `{}`", service.full_name());
        self.add(severity, field, (found, numbers.join(", ")), None);
    }

    fn targets(&mut self, targets: &[TargetRef]) {
        for (target, at) in targets.iter().zip(0..) {
            let field = format!("spec.targetRefs[{at}]");
            let name = ServiceName { namespace: self.namespace().clone(), name: target.name.clone() };
            match target.kind {
                TargetKind::Namespace => {}
                TargetKind::Mesh => self.mesh_target(target, &field),
                TargetKind::Service => {
                    self.known_service(&name, &format!("{field}.name"), Severity::Error);
                }
                TargetKind::HttpRoute | TargetKind::GrpcRoute => self.route_target(target, &name, &field),
            }
        }
    }

    fn mesh_target(&mut self, target: &TargetRef, field: &str) {
        if let Some(mesh) = self.index.mesh.filter(|mesh| **mesh != target.name) {
            let found = format!("`{}`, which is not the Mesh's name", target.name);
            let (field, allowed) = (format!("{field}.name"), mesh.to_string());
            self.add(Severity::Error, &field, (found, allowed.clone()), Some(allowed));
        }
    }

    fn route_target(&mut self, target: &TargetRef, name: &ServiceName, field: &str) {
        let Some(rules) = self.index.routes.get(&(target.kind, name.clone())) else {
            let known: Vec<_> = self.index.routes.keys().filter(|(kind, route)| {
                *kind == target.kind && route.namespace == name.namespace
            }).map(|(_, route)| route.name.as_str()).collect();
            let near = nearest(target.name.as_str(), known.iter().copied());
            let found = format!("`{}`, but there is no such {} in `{}`", target.name, target.kind, name.namespace);
            self.add(Severity::Error, &format!("{field}.name"), (found, listed(&known)), near);
            return;
        };
        let (Some(section), Some(rules)) = (&target.section_name, rules) else { return };
        if !rules.contains(section) {
            let known: Vec<_> = rules.iter().map(|name| name.as_str()).collect();
            let near = nearest(section.as_str(), known.iter().copied());
            let found = format!("`{section}`, which names no rule of {} `{name}`", target.kind);
            let words = (found, listed(&known));
            self.add(Severity::Error, &format!("{field}.sectionName"), words, near);
        }
    }
}

fn mistake(located: &Located, severity: Severity, field: &str, (found, allowed): (String, String)) -> Mistake {
    let position = located.positions.of(field);
    let mut mistake = Mistake::new(located.file.to_path_buf(), position, field.to_owned(), found, allowed);
    mistake.severity = severity;
    mistake.set_object(&located.object.key());
    mistake
}

/// At most eight of them, for people.
fn listed(names: &[&str]) -> String {
    match names {
        [] => "none exists".into(),
        [.., _] if names.len() > 8 => {
            let shown: Vec<_> = names.iter().take(8).copied().collect();
            format!("{} and {} more", shown.join(", "), names.len() - 8)
        }
        _ => names.join(", "),
    }
}

fn drop_duplicates(parsed: &mut Parsed) {
    let mut first: HashMap<ObjectKey, Related> = HashMap::new();
    for rejected in &parsed.rejected {
        let position = super::Position { line: rejected.line, column: 1, length: 1 };
        let label = "first defined here".to_owned();
        first.insert(rejected.key.clone(), Related { file: rejected.file.clone(), position, label });
    }
    drop_second(parsed, |located| {
        let key = located.object.key();
        if let Some(earlier) = first.get(&key) {
            return Some((earlier.clone(), format!("{key} for the second time"), "each object once"));
        }
        first.insert(key, related(located, "", "first defined here"));
        None
    });
}

fn drop_second_mesh(parsed: &mut Parsed) {
    let mut first: Option<Related> = None;
    drop_second(parsed, |located| {
        if located.object.kind() != Kind::Mesh {
            return None;
        }
        match &first {
            Some(earlier) => Some((earlier.clone(), "a second Mesh".to_owned(), "at most one Mesh")),
            None => {
                first = Some(related(located, "", "the first Mesh"));
                None
            }
        }
    });
}

/// Moves objects for which `earlier` names a rival to the rejected ones.
fn drop_second(
    parsed: &mut Parsed,
    mut earlier: impl FnMut(&Located) -> Option<(Related, String, &'static str)>,
) {
    let (mistakes, rejected) = (&mut parsed.mistakes, &mut parsed.rejected);
    parsed.objects.retain(|located| {
        let Some((other, found, allowed)) = earlier(located) else { return true };
        let mut mistake = mistake(located, Severity::Error, "metadata.name", (found, allowed.to_owned()));
        mistake.related = Some(other);
        mistakes.push(mistake);
        rejected.push(Rejected {
            key: located.object.key(),
            file: located.file.to_path_buf(),
            line: located.line,
            targets: located.object.targets().to_vec(),
        });
        false
    });
}

fn related(located: &Located, field: &str, label: &str) -> Related {
    let position = located.positions.of(if field.is_empty() { "metadata.name" } else { field });
    Related { file: located.file.to_path_buf(), position, label: label.to_owned() }
}

/// One policy of a kind per exact target. Both stay: which one holds depends on which was accepted first.
fn conflicts(objects: &[Located], mistakes: &mut Vec<Mistake>) {
    type Target<'a> = (PolicyKind, Option<&'a Name>, &'a TargetRef);
    let mut first: BTreeMap<Target<'_>, (&Located, String)> = BTreeMap::new();
    for located in objects {
        let kind = match located.object.kind() {
            Kind::TrafficPolicy => PolicyKind::Traffic,
            Kind::AccessPolicy => PolicyKind::Access,
            _ => continue,
        };
        for (target, at) in located.object.targets().iter().zip(0..) {
            let field = format!("spec.targetRefs[{at}]");
            let namespace = Some(&located.object.metadata().namespace);
            let key = (kind, namespace.filter(|_| target.kind != TargetKind::Mesh), target);
            if let Some((earlier, field_there)) = first.get(&key) {
                let found = format!(
                    "{} `{}`, which {} targets already",
                    target.kind,
                    target.name,
                    earlier.object.key()
                );
                let allowed = format!("one {kind} per target: merge them, or narrow one");
                let mut mistake = mistake(located, Severity::Error, &field, (found, allowed));
                mistake.related = Some(related(earlier, field_there, "the other policy"));
                mistakes.push(mistake);
            } else {
                first.insert(key, (located, field));
            }
        }
    }
}

/// One service per address.
fn addresses(objects: &[Located], mistakes: &mut Vec<Mistake>) {
    let mut first = HashMap::new();
    for located in objects {
        let Object::Service(service) = &located.object else { continue };
        let Some(address) = service.spec.cluster_ip else { continue };
        let earlier: &mut &Located = first.entry(address).or_insert(located);
        if !std::ptr::eq(*earlier, located) {
            let found = format!("`{address}`, which {} has already", earlier.object.key());
            let words = (found, "an address of its own".to_owned());
            let mut mistake = mistake(located, Severity::Error, "spec.clusterIP", words);
            mistake.related = Some(related(earlier, "spec.clusterIP", "the other service"));
            mistakes.push(mistake);
        }
    }
}
