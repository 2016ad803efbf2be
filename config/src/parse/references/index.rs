//! What exists, for asking whether a reference leads somewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    kind::{Gateway, Granted, Kind, Metadata, Object, ReferenceGrant, Service, TargetKind},
    parse::{Parsed, Rejected, api::is_api_file},
    value::{Name, ServiceName, TrustDomain},
};

/// What exists.
pub(super) struct Index<'a> {
    pub(super) services: BTreeMap<ServiceName, Option<&'a Service>>,
    pub(super) gateways: BTreeMap<ServiceName, Option<&'a Gateway>>,
    /// Of the Workloads.
    pub(super) workloads: BTreeSet<ServiceName>,
    /// With CA certificates.
    pub(super) config_maps: BTreeSet<ServiceName>,
    /// Services that have an EndpointSlice, as it names them.
    pub(super) listed: BTreeSet<(&'a Name, &'a str)>,
    /// Rule names of routes; `None` for a route that is rejected.
    pub(super) routes: BTreeMap<(TargetKind, ServiceName), Option<BTreeSet<&'a Name>>>,
    pub(super) mesh: Option<&'a Name>,
    /// This mesh's; `None`: the Mesh is rejected.
    pub(super) trust_domain: Option<TrustDomain>,
    /// Of the Workloads: who there can be.
    pub(super) accounts: BTreeSet<(&'a Name, &'a Name)>,
    /// Of the Workloads, by namespace and label: a mesh with as many Services would look at each for each.
    labels: HashMap<Label<'a>, Vec<&'a BTreeMap<String, String>>>,
    /// With an AuthenticationPolicy, be it one with mistakes.
    pub(super) authenticates: BTreeSet<&'a Name>,
    /// Whose references are allowed.
    pub(super) grants: Vec<&'a ReferenceGrant>,
    /// Some grant is rejected: silence about what it may have allowed.
    pub(super) ungranted: bool,
    /// Some Workload is rejected or some file unreadable: silence about what may be in there. Of a cluster's objects, too:
    /// Workloads are there while pods run.
    pub(super) partial: bool,
}

/// A namespace, and a key and a value there.
type Label<'a> = (&'a Name, &'a str, &'a str);

impl Index<'_> {
    /// Whether the Service's selector takes some Workload.
    pub(super) fn selects_some(&self, service: &Service) -> bool {
        let Some((key, value)) = service.spec.selector.iter().next() else {
            return false;
        };
        let with_label = (&service.metadata.namespace, key.as_str(), value.as_str());
        let candidates = self.labels.get(&with_label).into_iter().flatten();
        candidates
            .into_iter()
            .any(|labels| service.spec.selects(labels))
    }
}

impl<'a> Index<'a> {
    pub(super) fn new(parsed: &'a Parsed) -> Self {
        let mut index = Self {
            services: BTreeMap::new(),
            gateways: BTreeMap::new(),
            workloads: BTreeSet::new(),
            config_maps: BTreeSet::new(),
            listed: BTreeSet::new(),
            routes: BTreeMap::new(),
            mesh: None,
            trust_domain: Some(TrustDomain::default()),
            accounts: BTreeSet::new(),
            labels: HashMap::new(),
            authenticates: BTreeSet::new(),
            grants: Vec::new(),
            ungranted: !parsed.unreadable.is_empty(),
            partial: !parsed.unreadable.is_empty(),
        };
        // Rejected objects exist too: one mistake should not be followed by ten that it caused.
        for Rejected { key, .. } in &parsed.rejected {
            let name = ServiceName {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            };
            match key.kind {
                Kind::Service => drop(index.services.insert(name, None)),
                Kind::HttpRoute => drop(index.routes.insert((TargetKind::HttpRoute, name), None)),
                Kind::GrpcRoute => drop(index.routes.insert((TargetKind::GrpcRoute, name), None)),
                Kind::Mesh => {
                    index.mesh = Some(&key.name);
                    index.trust_domain = None;
                }
                Kind::Workload | Kind::EndpointSlice => index.partial = true,
                Kind::ConfigMap => drop(index.config_maps.insert(name)),
                Kind::Gateway => drop(index.gateways.insert(name, None)),
                // What it would have granted is not known.
                Kind::ReferenceGrant => index.ungranted = true,
                Kind::AuthenticationPolicy => drop(index.authenticates.insert(&key.namespace)),
                Kind::TlsRoute
                | Kind::TcpRoute
                | Kind::BackendTlsPolicy
                | Kind::TrafficPolicy
                | Kind::AccessPolicy
                | Kind::FaultPolicy
                | Kind::RateLimitPolicy => {}
            }
        }
        for located in &parsed.objects {
            index.partial |= is_api_file(&located.file);
            index.add(&located.object);
        }
        index
    }

    fn add(&mut self, object: &'a Object) {
        match object {
            Object::Mesh(mesh) => {
                self.mesh = Some(&mesh.metadata.name);
                self.trust_domain = Some(mesh.spec.trust_domain.clone().unwrap_or_default());
            }
            Object::Service(service) => {
                self.services.insert(service.full_name(), Some(service));
            }
            Object::EndpointSlice(slice) => {
                let namespace = &slice.metadata.namespace;
                let service = slice.service().map(|service| (namespace, service));
                self.listed.extend(service);
            }
            Object::ConfigMap(map) => drop(self.config_maps.insert(map.full_name())),
            Object::Gateway(gateway) => {
                self.gateways.insert(gateway.full_name(), Some(gateway));
            }
            Object::Workload(workload) => {
                self.workloads.insert(workload.full_name());
                self.accounts
                    .insert((&workload.metadata.namespace, &workload.spec.service_account));
                let Metadata {
                    namespace, labels, ..
                } = &workload.metadata;
                for (key, value) in labels {
                    let with_label = (namespace, key.as_str(), value.as_str());
                    self.labels.entry(with_label).or_default().push(labels);
                }
            }
            Object::HttpRoute(route) => {
                let rules = route
                    .spec
                    .rules
                    .iter()
                    .filter_map(|rule| rule.name.as_ref())
                    .collect();
                self.routes
                    .insert((TargetKind::HttpRoute, route.full_name()), Some(rules));
            }
            Object::GrpcRoute(route) => {
                let rules = route
                    .spec
                    .rules
                    .iter()
                    .filter_map(|rule| rule.name.as_ref())
                    .collect();
                self.routes
                    .insert((TargetKind::GrpcRoute, route.full_name()), Some(rules));
            }
            Object::ReferenceGrant(grant) => self.grants.push(grant),
            Object::AuthenticationPolicy(policy) => {
                self.authenticates.insert(&policy.metadata.namespace);
            }
            Object::TlsRoute(_)
            | Object::TcpRoute(_)
            | Object::BackendTlsPolicy(_)
            | Object::TrafficPolicy(_)
            | Object::AccessPolicy(_)
            | Object::FaultPolicy(_)
            | Object::RateLimitPolicy(_) => {}
        }
    }

    /// Whether an object may refer to something of another namespace, as far as can be known.
    pub(super) fn allows(
        &self,
        kind: Kind,
        own: &Name,
        (granted, to): (Granted, &ServiceName),
    ) -> bool {
        let grants = |grant: &&ReferenceGrant| {
            let there = grant.metadata.namespace == to.namespace;
            there && grant.spec.allows(kind, own, (granted, &to.name))
        };
        *own == to.namespace || self.ungranted || self.grants.iter().any(grants)
    }

    /// The names of the services of a namespace.
    pub(super) fn services_of(&self, namespace: &Name) -> Vec<&Name> {
        self.services
            .keys()
            .filter(|key| key.namespace == *namespace)
            .map(|key| &key.name)
            .collect()
    }
}
