//! A world's objects by kind and name, each with when it was accepted: who is older wins.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::SystemTime,
};

use http::HeaderName;
use usher_config::{
    kind::{
        AccessPolicy, AppProtocol, AuthenticationPolicy, BackendTlsPolicy, ConfigMap,
        EndpointSlice, FaultPolicy, Gateway, Granted, GrpcRoute, HttpRoute, Kind, MeshSpec, Object,
        ObjectKey, RateLimitPolicy, ReferenceGrant, Service, TcpRoute, TlsRoute, TrafficPolicy,
        Workload,
    },
    model::ServiceTarget,
    value::{Jwks, JwksUri, Name, Port, ServiceName, TrustDomain},
};

use crate::registry::{Denied, World, store::Wait};

use super::{Finding, Reason, claims};

/// An object and its age.
#[derive(Debug)]
pub(super) struct Aged<'a, T> {
    pub(super) key: &'a ObjectKey,
    pub(super) object: &'a T,
    pub(super) accepted_at: SystemTime,
}

impl<'a, T> Aged<'a, T> {
    fn new(key: &'a ObjectKey, object: &'a T, accepted_at: SystemTime) -> Self {
        Self {
            key,
            object,
            accepted_at,
        }
    }
}

// Derived, these would ask the same of `T`.
impl<T> Clone for Aged<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Aged<'_, T> {}

/// Everything, by kind.
#[derive(Debug)]
pub(super) struct Index<'a> {
    pub(super) mesh: MeshSpec,
    /// `None`: nobody wrote one.
    pub(super) mesh_key: Option<&'a ObjectKey>,
    pub(super) trust_domain: TrustDomain,
    pub(super) services: BTreeMap<ServiceName, &'a Service>,
    pub(super) workloads: Vec<&'a Workload>,
    /// The same by namespace and label: a mesh with as many services as workloads would look at each for each.
    labelled: HashMap<(&'a Name, &'a str, &'a str), Vec<&'a Workload>>,
    /// Oldest first, then by name.
    pub(super) slices: Vec<Aged<'a, EndpointSlice>>,
    /// With CA certificates.
    pub(super) config_maps: BTreeMap<ServiceName, &'a ConfigMap>,
    /// Oldest first, then by name.
    pub(super) backend_tls: Vec<Aged<'a, BackendTlsPolicy>>,
    pub(super) gateways: BTreeMap<ServiceName, Aged<'a, Gateway>>,
    pub(super) http_routes: Vec<Aged<'a, HttpRoute>>,
    pub(super) grpc_routes: Vec<Aged<'a, GrpcRoute>>,
    /// Whose references into other namespaces are allowed.
    grants: Vec<&'a ReferenceGrant>,
    pub(super) tls_routes: Vec<Aged<'a, TlsRoute>>,
    pub(super) tcp_routes: Vec<Aged<'a, TcpRoute>>,
    /// Oldest first, then by name.
    pub(super) traffic: Vec<Aged<'a, TrafficPolicy>>,
    /// Oldest first, then by name.
    pub(super) access: Vec<Aged<'a, AccessPolicy>>,
    /// Oldest first, then by name.
    pub(super) authentication: Vec<Aged<'a, AuthenticationPolicy>>,
    /// Oldest first, then by name.
    pub(super) faults: Vec<Aged<'a, FaultPolicy>>,
    /// Oldest first, then by name.
    pub(super) rate_limits: Vec<Aged<'a, RateLimitPolicy>>,
    /// Access- and AuthenticationPolicies that never were valid, and what they were meant to protect.
    /// That only AuthenticationPolicies write.
    pub(super) claim_headers: Vec<HeaderName>,
    pub(super) denied: &'a BTreeMap<ObjectKey, Denied>,
    /// Services that take plaintext although they are written `Strict`.
    pub(super) still_permissive: &'a BTreeMap<ServiceName, Wait>,
    pub(super) addresses: &'a BTreeMap<ServiceName, IpAddr>,
    /// Of token issuers, as far as they are fetched.
    pub(super) keys: &'a BTreeMap<JwksUri, Jwks>,
}

impl<'a> Index<'a> {
    pub(super) fn new(world: &'a World, findings: &mut Vec<Finding>) -> Self {
        let mut index = Self::empty(world);
        let mesh = world.mesh();
        for (key, accepted) in &world.objects {
            let at = accepted.accepted_at;
            match &*accepted.object {
                Object::Mesh(object) => match mesh {
                    Some((winner, _)) if winner != key => findings.push(Finding {
                        object: key.clone(),
                        reason: Reason::Conflicted,
                        message: format!("a mesh has one Mesh object, and {winner} is older"),
                    }),
                    _ => index.mesh = object.spec.clone(),
                },
                Object::Service(object) => {
                    index.services.insert(object.full_name(), object);
                }
                Object::Workload(object) => index.add_workload(object),
                Object::EndpointSlice(object) => index.slices.push(Aged::new(key, object, at)),
                Object::ConfigMap(object) => {
                    index.config_maps.insert(object.full_name(), object);
                }
                Object::BackendTlsPolicy(object) => {
                    index.backend_tls.push(Aged::new(key, object, at));
                }
                Object::Gateway(object) => {
                    let gateway = Aged::new(key, object, at);
                    index.gateways.insert(object.full_name(), gateway);
                }
                Object::TlsRoute(object) => index.tls_routes.push(Aged::new(key, object, at)),
                Object::TcpRoute(object) => index.tcp_routes.push(Aged::new(key, object, at)),
                Object::HttpRoute(object) => index.http_routes.push(Aged::new(key, object, at)),
                Object::GrpcRoute(object) => index.grpc_routes.push(Aged::new(key, object, at)),
                Object::ReferenceGrant(object) => index.grants.push(object),
                Object::TrafficPolicy(object) => index.traffic.push(Aged::new(key, object, at)),
                Object::AccessPolicy(object) => index.access.push(Aged::new(key, object, at)),
                Object::AuthenticationPolicy(object) => {
                    index.authentication.push(Aged::new(key, object, at));
                }
                Object::FaultPolicy(object) => index.faults.push(Aged::new(key, object, at)),
                Object::RateLimitPolicy(object) => {
                    index.rate_limits.push(Aged::new(key, object, at));
                }
            }
        }
        by_age(&mut index.slices);
        by_age(&mut index.backend_tls);
        by_age(&mut index.traffic);
        by_age(&mut index.access);
        by_age(&mut index.authentication);
        by_age(&mut index.faults);
        by_age(&mut index.rate_limits);
        index.claim_headers = claims::headers(&index.authentication);
        index
    }

    /// Without its objects.
    fn empty(world: &'a World) -> Self {
        Self {
            mesh: MeshSpec::default(),
            mesh_key: world.mesh().map(|(key, _)| key),
            trust_domain: world.trust_domain(),
            services: BTreeMap::new(),
            workloads: Vec::new(),
            slices: Vec::new(),
            config_maps: BTreeMap::new(),
            backend_tls: Vec::new(),
            labelled: HashMap::new(),
            gateways: BTreeMap::new(),
            http_routes: Vec::new(),
            grpc_routes: Vec::new(),
            grants: Vec::new(),
            tls_routes: Vec::new(),
            tcp_routes: Vec::new(),
            traffic: Vec::new(),
            access: Vec::new(),
            authentication: Vec::new(),
            faults: Vec::new(),
            rate_limits: Vec::new(),
            claim_headers: Vec::new(),
            denied: &world.denied,
            still_permissive: &world.still_permissive,
            addresses: &world.addresses,
            keys: &world.keys,
        }
    }

    fn add_workload(&mut self, workload: &'a Workload) {
        self.workloads.push(workload);
        let namespace = &workload.metadata.namespace;
        for (key, value) in &workload.metadata.labels {
            let with_label = (namespace, key.as_str(), value.as_str());
            self.labelled.entry(with_label).or_default().push(workload);
        }
    }

    /// The workloads that a service's selector takes, in the order of all.
    pub(super) fn selected<'b>(
        &'b self,
        service: &'b Service,
    ) -> impl Iterator<Item = &'a Workload> + 'b {
        let first = service.spec.selector.iter().next();
        let candidates = first.and_then(|(key, value)| {
            let namespace = &service.metadata.namespace;
            self.labelled
                .get(&(namespace, key.as_str(), value.as_str()))
        });
        let candidates = candidates.into_iter().flatten().copied();
        candidates.filter(|workload| service.spec.selects(&workload.metadata.labels))
    }

    /// The port of a service that a reference means, or why there is none.
    pub(super) fn resolve(
        &self,
        service: ServiceName,
        port: Port,
    ) -> Result<ServiceTarget, String> {
        match self.services.get(&service) {
            None => Err(format!("Service {service} does not exist")),
            Some(object)
                if object
                    .spec
                    .ports
                    .iter()
                    .all(|declared| declared.port != port) =>
            {
                let ports: Vec<String> = object
                    .spec
                    .ports
                    .iter()
                    .map(|declared| declared.port.to_string())
                    .collect();
                Err(format!(
                    "Service {service} has no port {port}; it has {}",
                    ports.join(", ")
                ))
            }
            Some(_) => Ok(ServiceTarget { service, port }),
        }
    }

    /// Whether a port says that it carries no HTTP.
    pub(super) fn is_opaque(&self, target: &ServiceTarget) -> bool {
        let service = self.services.get(&target.service);
        let ports = service.map(|service| &service.spec.ports);
        ports
            .into_iter()
            .flatten()
            .filter(|port| port.port == target.port)
            .any(|port| port.app_protocol.is_some_and(AppProtocol::is_opaque))
    }

    /// Whether its namespace lets `object` refer to it.
    pub(super) fn grants(&self, object: &ObjectKey, to: (Granted, &ServiceName)) -> bool {
        self.grants_for(object, to).next().is_some()
    }

    /// What lets it.
    pub(super) fn grants_for(
        &self,
        object: &ObjectKey,
        (granted, to): (Granted, &ServiceName),
    ) -> impl Iterator<Item = &'a ReferenceGrant> {
        let grants = self.grants.iter().copied();
        grants.filter(move |grant| {
            let (kind, own) = (object.kind, &object.namespace);
            grant.metadata.namespace == to.namespace
                && grant.spec.allows(kind, own, (granted, &to.name))
        })
    }

    pub(super) fn key_of_service(&self, name: &ServiceName) -> ObjectKey {
        ObjectKey {
            kind: Kind::Service,
            namespace: name.namespace.clone(),
            name: name.name.clone(),
        }
    }
}

/// The oldest first, then by name.
fn by_age<T>(policies: &mut [Aged<'_, T>]) {
    policies.sort_by_key(|policy| (policy.accepted_at, policy.key));
}
