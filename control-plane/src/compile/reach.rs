//! Which objects are part of what which proxies are told: of whom an acknowledgement says that an object is in force.
//!
//! Not kept while compiling: only people ask. What holds where is asked of the same functions that compile it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::{
    kind::{Granted, Kind, ObjectKey},
    model::{Backend, BackendTarget},
    value::{Name, ServiceName},
};

use crate::registry::World;

use super::{
    Compiled, faults,
    index::Index,
    routes::{layers_of_route, targets_of_route},
    services,
    streams::streams,
    targets::{Target, Targets},
    traffic,
    written::{label, written},
};

/// What of a snapshot has something of an object in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// All of it: it is the Mesh.
    pub everywhere: bool,
    /// What callers of these are told.
    pub services: BTreeSet<ServiceName>,
    /// What the instances of these, or these workloads that only call, are told about themselves.
    pub inbound: BTreeSet<ServiceName>,
    /// What the processes of these are told.
    pub gateways: BTreeSet<ServiceName>,
}

impl Reach {
    /// Nobody is told anything of it.
    pub fn is_empty(&self) -> bool {
        let Self {
            everywhere,
            services,
            inbound,
            gateways,
        } = self;
        !everywhere && services.is_empty() && inbound.is_empty() && gateways.is_empty()
    }
}

/// By object; one that nobody is told of has no entry. `compiled` is the world's.
pub fn reach(world: &World, compiled: &Compiled) -> BTreeMap<ObjectKey, Reach> {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let mut told = Told {
        index: &index,
        rules: rules(&index, &targets),
        by_object: BTreeMap::new(),
    };
    if let Some(mesh) = index.mesh_key {
        told.of(mesh).everywhere = true;
    }
    for (name, service) in &index.services {
        told.service(&targets, name);
        for workload in services::workloads(&index, service) {
            told.of(&workload).services.insert(name.clone());
            told.of(&workload).inbound.insert(name.clone());
        }
    }
    for workload in &index.workloads {
        let name = services::caller_name(workload);
        if !compiled.services.contains_key(&name) {
            let key = key(Kind::Workload, &name);
            told.of(&key).inbound.insert(name);
        }
    }
    for (name, service) in &compiled.services {
        let place = |reach: &mut Reach| {
            reach.services.insert(name.clone());
        };
        let requests = service.routes.iter();
        let requests = requests.map(|route| (&route.name, &*route.backends));
        let connections = service.streams.iter();
        let connections = connections.map(|route| (&route.name, route.backends.as_slice()));
        told.routes(requests.chain(connections), place);
    }
    for name in compiled.gateways.keys() {
        told.gateway((&targets, compiled), name);
    }
    told.by_object
}

/// A rule's object, and all that say something about it.
type Involved = (ObjectKey, BTreeSet<ObjectKey>);

/// By the label that the model has for a rule.
fn rules(index: &Index<'_>, targets: &Targets<'_>) -> BTreeMap<Arc<str>, Involved> {
    let mut rules = BTreeMap::new();
    for route in &written(index, &mut Vec::new()) {
        for (number, rule) in route.rules.iter().enumerate() {
            let layers = layers_of_route(targets, route.key, rule).into_iter();
            let mut involved: BTreeSet<ObjectKey> = layers.map(|layer| layer.object).collect();
            involved.extend(faults::held_by(targets, &targets_of_route(route.key, rule)));
            involved.insert(route.key.clone());
            rules.insert(route.label(number), (route.key.clone(), involved));
        }
    }
    for stream in streams(index) {
        let names: Vec<Option<&Name>> =
            stream.rules.iter().map(|rule| rule.name.as_ref()).collect();
        for number in 0..names.len() {
            let own = (stream.key.clone(), [stream.key.clone()].into());
            rules.insert(label(stream.key, &names, number), own);
        }
    }
    rules
}

struct Told<'i> {
    index: &'i Index<'i>,
    rules: BTreeMap<Arc<str>, Involved>,
    by_object: BTreeMap<ObjectKey, Reach>,
}

impl Told<'_> {
    fn of(&mut self, key: &ObjectKey) -> &mut Reach {
        self.by_object.entry(key.clone()).or_default()
    }

    /// What holds for all of a service.
    fn service(&mut self, targets: &Targets<'_>, name: &ServiceName) {
        let own = key(Kind::Service, name);
        let mut calling: BTreeSet<ObjectKey> = [own.clone()].into();
        let layers = traffic::layers_of_service(targets, name).into_iter();
        calling.extend(layers.map(|layer| layer.object));
        let target = Target::Service(name.clone());
        calling.extend(faults::held_by(targets, std::slice::from_ref(&target)));
        calling.extend(targets.about_tls(name).flat_map(|policy| {
            let refs = policy.spec.validation.ca_certificate_refs.iter();
            let maps = refs.map(|one| (Kind::ConfigMap, &one.name));
            let all = maps.chain([(Kind::BackendTlsPolicy, &policy.metadata.name)]);
            let key = |(kind, named): (Kind, &Name)| ObjectKey {
                kind,
                namespace: name.namespace.clone(),
                name: named.clone(),
            };
            all.map(key).collect::<Vec<_>>()
        }));
        let slices = self.index.slices.iter().filter(|slice| {
            slice.key.namespace == name.namespace
                && slice.object.service() == Some(name.name.as_str())
        });
        calling.extend(slices.map(|slice| slice.key.clone()));
        let mut called: BTreeSet<ObjectKey> = [own].into();
        for target in [
            Target::Mesh,
            Target::Namespace(name.namespace.clone()),
            target,
        ] {
            called.extend(guards(targets, &target));
        }
        for object in calling {
            self.of(&object).services.insert(name.clone());
        }
        for object in called {
            self.of(&object).inbound.insert(name.clone());
        }
    }

    /// Each route, what is said about it, and the grants that it takes.
    fn routes<'r>(
        &mut self,
        routes: impl Iterator<Item = (&'r Arc<str>, &'r [Backend])>,
        place: impl Fn(&mut Reach),
    ) {
        for (name, backends) in routes {
            let Some((route, involved)) = self.rules.get(name).cloned() else {
                continue;
            };
            let services = backends.iter().filter_map(|backend| match &backend.target {
                BackendTarget::Service(target) => Some(&target.service),
                BackendTarget::Invalid(_) => None,
            });
            let grants: Vec<ObjectKey> = services
                .flat_map(|service| self.grants(&route, Granted::Service, service))
                .collect();
            for object in involved.iter().chain(&grants) {
                place(self.of(object));
            }
        }
    }

    fn gateway(&mut self, (targets, compiled): (&Targets<'_>, &Compiled), name: &ServiceName) {
        let Some(model) = compiled.gateways.get(name) else {
            return;
        };
        let place = |reach: &mut Reach| {
            reach.gateways.insert(name.clone());
        };
        let own = key(Kind::Gateway, name);
        let mut about = guards(targets, &Target::Gateway(name.clone()));
        about.insert(own.clone());
        // What comes of wider policies, and of routes' own, is there by name.
        let tokens = model.route_authentication.iter().map(|(_, tokens)| tokens);
        let tokens = tokens.chain(&model.authentication);
        about.extend(tokens.filter_map(|one| policy(Kind::AuthenticationPolicy, &one.name)));
        let limits = model.route_limits.iter().map(|(_, limits)| limits);
        let limits = limits.chain(&model.rate_limits);
        about.extend(limits.filter_map(|one| policy(Kind::RateLimitPolicy, &one.policy)));
        if let Some(written) = self.index.gateways.get(name) {
            let listeners = written.object.spec.listeners.iter();
            let shown = listeners.filter_map(|one| one.tls.as_ref());
            let shown = shown.flat_map(|one| &one.certificate_refs);
            let shown = shown.map(|one| one.full_name(&name.namespace));
            about.extend(shown.flat_map(|one| self.grants(&own, Granted::Secret, &one)));
        }
        for object in &about {
            place(self.of(object));
        }
        for listener in &model.listeners {
            let requests = listener.routes.iter().map(|one| &one.route);
            let requests = requests.map(|route| (&route.name, &*route.backends));
            let connections = listener.streams.iter();
            let connections = connections.map(|route| (&route.name, route.backends.as_slice()));
            self.routes(requests.chain(connections), place);
        }
    }

    /// What lets an object refer into another namespace.
    fn grants(&self, from: &ObjectKey, granted: Granted, to: &ServiceName) -> Vec<ObjectKey> {
        if from.namespace == to.namespace {
            return Vec::new();
        }
        let grants = self.index.grants_for(from, (granted, to));
        grants
            .map(|grant| key(Kind::ReferenceGrant, &grant.full_name()))
            .collect()
    }
}

/// What is held against callers there.
fn guards(targets: &Targets<'_>, target: &Target) -> BTreeSet<ObjectKey> {
    let access = targets.access(target).map(|one| one.full_name());
    let tokens = targets.authentication(target).map(|one| one.full_name());
    let limits = targets.rate_limits(target).map(|one| one.full_name());
    let named = [
        (Kind::AccessPolicy, access),
        (Kind::AuthenticationPolicy, tokens),
        (Kind::RateLimitPolicy, limits),
    ];
    let named = named.into_iter();
    let held = named.filter_map(|(kind, name)| Some(key(kind, &name?)));
    held.chain(targets.denied(target).iter().copied().cloned())
        .collect()
}

fn key(kind: Kind, name: &ServiceName) -> ObjectKey {
    ObjectKey {
        kind,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}

/// That the model calls `namespace/name`.
fn policy(kind: Kind, name: &str) -> Option<ObjectKey> {
    Some(key(kind, &name.parse().ok()?))
}
