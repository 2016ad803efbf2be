//! AccessPolicies of a Service whose routes lead elsewhere: a policy guards the instances of the Services that it names,
//! where a call arrives, so whoever is led to other Services never meets it.
//!
//! Warnings, and only where nothing else guards those: a policy for the Service, its namespace or the mesh may be enough,
//! whatever it says. A consumer route leads its own namespace's callers, who could go there without it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    kind::{
        AccessPolicy, BackendRef, DefaultAction, Granted, Kind, Object, ParentKind, ParentRef,
        TargetKind, TargetRef,
    },
    parse::{Located, Mistake, Parsed, Severity},
    value::{Name, ServiceName},
};

use super::{index::Index, mistake, related};

/// What AccessPolicies name.
#[derive(Default)]
struct Guarded<'a> {
    mesh: bool,
    namespaces: BTreeSet<&'a Name>,
    services: BTreeSet<ServiceName>,
}

impl<'a> Guarded<'a> {
    /// Rejected ones too: what they say is not known, but they will be mended.
    fn new(parsed: &'a Parsed) -> Self {
        let mut guarded = Self::default();
        for located in &parsed.objects {
            if let Object::AccessPolicy(policy) = &located.object {
                guarded.add(&policy.metadata.namespace, &policy.spec.target_refs);
            }
        }
        for rejected in &parsed.rejected {
            if rejected.key.kind == Kind::AccessPolicy {
                guarded.add(&rejected.key.namespace, &rejected.targets);
            }
        }
        guarded
    }

    fn add(&mut self, namespace: &'a Name, targets: &'a [TargetRef]) {
        for target in targets {
            match target.kind {
                TargetKind::Mesh => self.mesh = true,
                TargetKind::Namespace => drop(self.namespaces.insert(&target.name)),
                TargetKind::Service => drop(self.services.insert(named(namespace, &target.name))),
                TargetKind::Gateway | TargetKind::HttpRoute | TargetKind::GrpcRoute => {}
            }
        }
    }

    fn has(&self, service: &ServiceName) -> bool {
        self.mesh || self.namespaces.contains(&service.namespace) || self.services.contains(service)
    }
}

/// A route away from a Service.
struct Detour<'a> {
    route: &'a Located,
    /// Of its parents.
    parent: usize,
    /// The Services that it leads to, of which no policy is known.
    to: BTreeSet<ServiceName>,
}

pub(super) fn unguarded(parsed: &Parsed, index: &Index<'_>, mistakes: &mut Vec<Mistake>) {
    // What nobody could read may guard them.
    if !parsed.unreadable.is_empty() {
        return;
    }
    let guarded = Guarded::new(parsed);
    let mut detours: BTreeMap<ServiceName, Vec<Detour<'_>>> = BTreeMap::new();
    for located in &parsed.objects {
        for (service, detour) in detours_by(located, index, &guarded) {
            detours.entry(service).or_default().push(detour);
        }
    }
    for located in &parsed.objects {
        let Object::AccessPolicy(policy) = &located.object else {
            continue;
        };
        if policy.spec.default_action == Some(DefaultAction::Allow) {
            continue;
        }
        for (target, at) in policy.spec.target_refs.iter().zip(0..) {
            let service = named(&policy.metadata.namespace, &target.name);
            let of_service = detours.get(&service);
            let of_service = of_service.filter(|_| target.kind == TargetKind::Service);
            for detour in of_service.into_iter().flatten() {
                let field = format!("spec.targetRefs[{at}]");
                mistakes.push(warning((located, policy), &field, (&service, detour)));
            }
        }
    }
}

/// Of each parent of a route.
fn detours_by<'a>(
    located: &'a Located,
    index: &Index<'_>,
    guarded: &Guarded<'_>,
) -> Vec<(ServiceName, Detour<'a>)> {
    let (parents, backends) = led(&located.object);
    let (kind, own) = (located.object.kind(), &located.object.metadata().namespace);
    let taken = backends.iter().filter(|backend| backend.weight.get() > 0);
    let to: BTreeSet<ServiceName> = taken
        .map(|backend| backend.service(own))
        .filter(|service| {
            index.services.contains_key(service)
                && index.allows(kind, own, (Granted::Service, service))
                && !guarded.has(service)
        })
        .collect();
    let mut detours: BTreeMap<ServiceName, Detour<'a>> = BTreeMap::new();
    for (reference, parent) in parents.iter().zip(0..) {
        let service = reference.parent(own);
        if reference.kind != ParentKind::Service || service.namespace != *own || to.is_empty() {
            continue;
        }
        // The parent itself is not among them: a policy names it, or nobody asks.
        let detour = || Detour {
            route: located,
            parent,
            to: to.clone(),
        };
        detours.entry(service).or_insert_with(detour);
    }
    detours.into_iter().collect()
}

/// Whose calls or connections a route takes, and where they go.
fn led(object: &Object) -> (&[ParentRef], Vec<&BackendRef>) {
    match object {
        Object::HttpRoute(route) => {
            let rules = route.spec.rules.iter();
            let all = rules.flat_map(|rule| rule.backend_refs.iter().map(|entry| &entry.backend));
            (&route.spec.parent_refs, all.collect())
        }
        Object::GrpcRoute(route) => {
            let rules = route.spec.rules.iter();
            let all = rules.flat_map(|rule| rule.backend_refs.iter().map(|entry| &entry.backend));
            (&route.spec.parent_refs, all.collect())
        }
        Object::TlsRoute(route) => {
            let all = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
            (&route.spec.parent_refs, all.collect())
        }
        Object::TcpRoute(route) => {
            let all = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
            (&route.spec.parent_refs, all.collect())
        }
        _ => (&[], Vec::new()),
    }
}

fn warning(
    (located, policy): (&Located, &AccessPolicy),
    field: &str,
    (service, detour): (&ServiceName, &Detour<'_>),
) -> Mistake {
    let route = detour.route.object.key();
    let to: Vec<String> = detour.to.iter().map(|to| format!("`{to}`")).collect();
    let to = to.join(", ");
    let found = format!(
        "Service `{service}`, whose calls {route} leads to {to}, which no AccessPolicy guards: calls that go there never \
         meet this one"
    );
    let here = |to: &ServiceName| to.namespace == policy.metadata.namespace;
    let how = if detour.to.iter().all(here) {
        // As they are written there.
        let names: Vec<String> = detour
            .to
            .iter()
            .map(|to| format!("`{}`", to.name))
            .collect();
        format!("targetRefs that name {}, too", names.join(", "))
    } else {
        format!("AccessPolicies for {to}, each in the namespace of its Service")
    };
    let allowed = format!("{how}: a policy guards the instances of the Services that it names");
    let mut mistake = mistake(located, Severity::Warning, field, (found, allowed));
    let there = format!("spec.parentRefs[{}]", detour.parent);
    mistake.related = Some(related(detour.route, &there, "the route"));
    mistake
}

fn named(namespace: &Name, name: &Name) -> ServiceName {
    ServiceName {
        namespace: namespace.clone(),
        name: name.clone(),
    }
}
