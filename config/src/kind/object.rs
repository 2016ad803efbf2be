//! What all kinds share: the envelope, names, and the enum over them.

use std::{collections::BTreeMap, fmt};

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, ServiceName};

use super::choice::choice;
use super::{
    AccessPolicy, AuthenticationPolicy, BackendTlsPolicy, ConfigMap, EndpointSlice, FaultPolicy,
    Gateway, GrpcRoute, HttpRoute, Mesh, RateLimitPolicy, ReferenceGrant, Service, TargetRef,
    TcpRoute, TlsRoute, TrafficPolicy, Workload,
};

choice! {
    /// The kinds this version understands.
    pub enum Kind {
        /// The mesh as a whole; at most one.
        Mesh = "Mesh",
        /// A name that callers use, core/v1.
        Service = "Service",
        /// The instances behind a name, off Kubernetes.
        Workload = "Workload",
        /// Where a name without instances of the mesh is, discovery.k8s.io/v1.
        EndpointSlice = "EndpointSlice",
        /// CA certificates, core/v1.
        ConfigMap = "ConfigMap",
        /// Gateway API: where the outside world comes in.
        Gateway = "Gateway",
        /// Gateway API: HTTP requests → services.
        HttpRoute = "HTTPRoute",
        /// Gateway API: gRPC calls → services.
        GrpcRoute = "GRPCRoute",
        /// Gateway API: whose references into a namespace are allowed.
        ReferenceGrant = "ReferenceGrant",
        /// Gateway API: TLS connections → services, by SNI.
        TlsRoute = "TLSRoute",
        /// Gateway API: TCP connections → services.
        TcpRoute = "TCPRoute",
        /// Gateway API: TLS towards services without sidecars.
        BackendTlsPolicy = "BackendTLSPolicy",
        /// How requests are treated on the way.
        TrafficPolicy = "TrafficPolicy",
        /// Who may send them.
        AccessPolicy = "AccessPolicy",
        /// Whose tokens they need.
        AuthenticationPolicy = "AuthenticationPolicy",
        /// What goes wrong with them on purpose.
        FaultPolicy = "FaultPolicy",
        /// How many of them, in a time.
        RateLimitPolicy = "RateLimitPolicy",
    }
}

impl Kind {
    /// The `apiVersion`s its objects may be written with; they mean the same here.
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Service | Self::ConfigMap => &["v1"],
            Self::EndpointSlice => &["discovery.k8s.io/v1"],
            Self::Gateway | Self::HttpRoute | Self::GrpcRoute | Self::BackendTlsPolicy => {
                &["gateway.networking.k8s.io/v1"]
            }
            Self::ReferenceGrant => &[
                "gateway.networking.k8s.io/v1",
                "gateway.networking.k8s.io/v1beta1",
            ],
            Self::TlsRoute => &[
                "gateway.networking.k8s.io/v1",
                "gateway.networking.k8s.io/v1alpha3",
                "gateway.networking.k8s.io/v1alpha2",
            ],
            Self::TcpRoute => &["gateway.networking.k8s.io/v1alpha2"],
            Self::Mesh
            | Self::Workload
            | Self::TrafficPolicy
            | Self::AccessPolicy
            | Self::AuthenticationPolicy
            | Self::FaultPolicy
            | Self::RateLimitPolicy => &["usher.dev/v1alpha1"],
        }
    }

    /// Whether what its objects want stands below `spec`, and not beside `metadata`.
    pub fn has_spec(self) -> bool {
        !matches!(self, Self::EndpointSlice | Self::ConfigMap)
    }

    /// The `apiVersion` its objects are written with.
    pub fn api_version(self) -> &'static str {
        self.api_versions().first().copied().unwrap_or_default()
    }
}

/// Which object: unique in a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ObjectKey {
    /// What it is.
    pub kind: Kind,
    /// Where it lives; `default` for the [`Kind::Mesh`], which lives nowhere.
    pub namespace: Name,
    /// Unique among its kind in the namespace.
    pub name: Name,
}

impl fmt::Display for ObjectKey {
    /// `HTTPRoute bank/account`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What every object says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Metadata {
    /// Unique among its kind in the namespace.
    pub name: Name,
    /// Default `default`, as everywhere in Kubernetes. A Mesh has none.
    #[cfg_attr(test, schemars(with = "Option<Name>"))]
    pub namespace: Name,
    /// What selectors look at. At most 64; keys and values as in Kubernetes, at most 63 characters each
    /// (keys with a prefix 317).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Notes for people and tools; Usher reads none.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// An object: who it is, and what it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource<Spec> {
    /// Who.
    pub metadata: Metadata,
    /// What.
    pub spec: Spec,
}

impl<Spec> Resource<Spec> {
    /// `namespace/name`, which for a Service is what routes and proxies call it.
    pub fn full_name(&self) -> ServiceName {
        ServiceName {
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }
}

/// Any object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a mesh has thousands of objects at most, and a box would be in every match"
)]
pub enum Object {
    /// See [`super::MeshSpec`].
    Mesh(Mesh),
    /// See [`super::ServiceSpec`].
    Service(Service),
    /// See [`super::WorkloadSpec`].
    Workload(Workload),
    /// See [`super::EndpointSliceSpec`].
    EndpointSlice(EndpointSlice),
    /// See [`super::ConfigMapSpec`].
    ConfigMap(ConfigMap),
    /// See [`super::GatewaySpec`].
    Gateway(Gateway),
    /// See [`super::HttpRouteSpec`].
    HttpRoute(HttpRoute),
    /// See [`super::GrpcRouteSpec`].
    GrpcRoute(GrpcRoute),
    /// See [`super::ReferenceGrantSpec`].
    ReferenceGrant(ReferenceGrant),
    /// See [`super::TlsRouteSpec`].
    TlsRoute(TlsRoute),
    /// See [`super::TcpRouteSpec`].
    TcpRoute(TcpRoute),
    /// See [`super::BackendTlsPolicySpec`].
    BackendTlsPolicy(BackendTlsPolicy),
    /// See [`super::TrafficPolicySpec`].
    TrafficPolicy(TrafficPolicy),
    /// See [`super::AccessPolicySpec`].
    AccessPolicy(AccessPolicy),
    /// See [`super::AuthenticationPolicySpec`].
    AuthenticationPolicy(AuthenticationPolicy),
    /// See [`super::FaultPolicySpec`].
    FaultPolicy(FaultPolicy),
    /// See [`super::RateLimitPolicySpec`].
    RateLimitPolicy(RateLimitPolicy),
}

impl Object {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mesh(_) => Kind::Mesh,
            Self::Service(_) => Kind::Service,
            Self::Workload(_) => Kind::Workload,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Gateway(_) => Kind::Gateway,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::TlsRoute(_) => Kind::TlsRoute,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::BackendTlsPolicy(_) => Kind::BackendTlsPolicy,
            Self::TrafficPolicy(_) => Kind::TrafficPolicy,
            Self::AccessPolicy(_) => Kind::AccessPolicy,
            Self::AuthenticationPolicy(_) => Kind::AuthenticationPolicy,
            Self::FaultPolicy(_) => Kind::FaultPolicy,
            Self::RateLimitPolicy(_) => Kind::RateLimitPolicy,
        }
    }

    /// Who it is.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Mesh(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Workload(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::Gateway(object) => &object.metadata,
            Self::HttpRoute(object) => &object.metadata,
            Self::GrpcRoute(object) => &object.metadata,
            Self::ReferenceGrant(object) => &object.metadata,
            Self::TlsRoute(object) => &object.metadata,
            Self::TcpRoute(object) => &object.metadata,
            Self::BackendTlsPolicy(object) => &object.metadata,
            Self::TrafficPolicy(object) => &object.metadata,
            Self::AccessPolicy(object) => &object.metadata,
            Self::AuthenticationPolicy(object) => &object.metadata,
            Self::FaultPolicy(object) => &object.metadata,
            Self::RateLimitPolicy(object) => &object.metadata,
        }
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        ObjectKey {
            kind: self.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        }
    }

    /// What a policy is attached to; nothing for other kinds.
    pub fn targets(&self) -> &[TargetRef] {
        match self {
            Self::BackendTlsPolicy(policy) => &policy.spec.target_refs,
            Self::TrafficPolicy(policy) => &policy.spec.target_refs,
            Self::AccessPolicy(policy) => &policy.spec.target_refs,
            Self::AuthenticationPolicy(policy) => &policy.spec.target_refs,
            Self::FaultPolicy(policy) => &policy.spec.target_refs,
            Self::RateLimitPolicy(policy) => &policy.spec.target_refs,
            Self::Mesh(_)
            | Self::Service(_)
            | Self::Workload(_)
            | Self::EndpointSlice(_)
            | Self::ConfigMap(_)
            | Self::Gateway(_)
            | Self::HttpRoute(_)
            | Self::GrpcRoute(_)
            | Self::ReferenceGrant(_)
            | Self::TlsRoute(_)
            | Self::TcpRoute(_) => &[],
        }
    }

    /// The object as YAML that parses to an equal object: one canonical text per meaning, fit for hashing.
    ///
    /// # Errors
    /// None in practice: every part has a text form.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        let mut value = serde_yaml::to_value(self)?;
        prune(&mut value);
        if let (Self::Mesh(_), Some(metadata)) = (self, value.get_mut("metadata")) {
            metadata
                .as_mapping_mut()
                .and_then(|fields| fields.remove("namespace"));
        }
        serde_yaml::to_string(&value)
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope<'a, Spec> {
            api_version: &'static str,
            kind: Kind,
            #[serde(flatten)]
            object: &'a Resource<Spec>,
        }
        /// Without a `spec`.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Bare<'a, Rest> {
            api_version: &'static str,
            kind: Kind,
            metadata: &'a Metadata,
            #[serde(flatten)]
            rest: &'a Rest,
        }
        macro_rules! envelope {
            ($object:expr) => {
                Envelope {
                    api_version: self.kind().api_version(),
                    kind: self.kind(),
                    object: $object,
                }
                .serialize(serializer)
            };
        }
        macro_rules! bare {
            ($object:expr) => {
                Bare {
                    api_version: self.kind().api_version(),
                    kind: self.kind(),
                    metadata: &$object.metadata,
                    rest: &$object.spec,
                }
                .serialize(serializer)
            };
        }
        match self {
            Self::Mesh(object) => envelope!(object),
            Self::Service(object) => envelope!(object),
            Self::Workload(object) => envelope!(object),
            Self::EndpointSlice(object) => bare!(object),
            Self::ConfigMap(object) => bare!(object),
            Self::Gateway(object) => envelope!(object),
            Self::HttpRoute(object) => envelope!(object),
            Self::GrpcRoute(object) => envelope!(object),
            Self::ReferenceGrant(object) => envelope!(object),
            Self::TlsRoute(object) => envelope!(object),
            Self::TcpRoute(object) => envelope!(object),
            Self::BackendTlsPolicy(object) => envelope!(object),
            Self::TrafficPolicy(object) => envelope!(object),
            Self::AccessPolicy(object) => envelope!(object),
            Self::AuthenticationPolicy(object) => envelope!(object),
            Self::FaultPolicy(object) => envelope!(object),
            Self::RateLimitPolicy(object) => envelope!(object),
        }
    }
}

/// Leaves out what was not given: `null` entries of mappings, at any depth.
fn prune(value: &mut serde_yaml::Value) {
    match value {
        serde_yaml::Value::Mapping(mapping) => {
            mapping.retain(|_, entry| !entry.is_null());
            mapping.iter_mut().for_each(|(_, entry)| prune(entry));
        }
        serde_yaml::Value::Sequence(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}
