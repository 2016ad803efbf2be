//! How objects point at each other.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, Port, ServiceName, Weight};

use super::choice::choice;
use super::{GrpcFilter, HttpFilter, ServicePort};

choice! {
    /// What a route may hang on.
    pub enum ParentKind {
        /// North-south: requests from outside that come to this gateway.
        Gateway = "Gateway",
        /// East-west: requests that name this service (GAMMA).
        Service = "Service",
    }
}

choice! {
    /// The group of what a route hangs on: it follows from the kind, and has to be written for a Service.
    pub enum ParentGroup {
        /// Of a Gateway.
        GatewayApi = "gateway.networking.k8s.io",
        /// Of a Service.
        Core = "",
    }
}

impl ParentKind {
    /// The group that the kind belongs to.
    pub fn group(self) -> ParentGroup {
        match self {
            Self::Gateway => ParentGroup::GatewayApi,
            Self::Service => ParentGroup::Core,
        }
    }
}

choice! {
    /// What a route may lead to.
    pub enum BackendKind {
        /// The only one.
        Service = "Service",
    }
}

choice! {
    /// The core group, written as the empty text.
    pub enum CoreGroup {
        /// core
        Core = "",
    }
}

/// Whose requests a route takes. Upstream's defaults are a Gateway; for a Service `group: ""` and `kind: Service` are
/// written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ParentRef {
    /// That of the kind. Default: Gateway API's.
    #[cfg_attr(test, schemars(with = "Option<ParentGroup>"))]
    pub group: ParentGroup,
    /// Default Gateway.
    #[cfg_attr(test, schemars(with = "Option<ParentKind>"))]
    pub kind: ParentKind,
    /// Default: the route's own. Another one for a Gateway is up to the listeners' `allowedRoutes`; for a Service it
    /// makes a *consumer* route: only callers in the route's namespace follow it.
    pub namespace: Option<Name>,
    /// The Gateway or Service.
    pub name: Name,
    /// Only requests to this port. Default: all ports.
    pub port: Option<Port>,
    /// Only requests to the listener, or to the Service's port, of this name. Default: all.
    pub section_name: Option<Name>,
}

impl ParentRef {
    /// Whether it means this port of a Service.
    pub fn means(&self, port: &ServicePort) -> bool {
        let section = self.section_name.as_ref();
        self.port.is_none_or(|number| port.port == number)
            && section.is_none_or(|name| port.name.as_ref() == Some(name))
    }

    /// The parent's name, for a route that lives in `namespace`.
    pub fn parent(&self, namespace: &Name) -> ServiceName {
        resolve(self.namespace.as_ref(), &self.name, namespace)
    }
}

/// A share of a rule's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct BackendRef {
    /// Always the core group; may be left out.
    #[cfg_attr(test, schemars(with = "Option<CoreGroup>"))]
    pub group: CoreGroup,
    /// Always a Service; may be left out.
    #[cfg_attr(test, schemars(with = "Option<BackendKind>"))]
    pub kind: BackendKind,
    /// Default: the route's own. Another one needs a ReferenceGrant there.
    pub namespace: Option<Name>,
    /// The Service.
    pub name: Name,
    /// Which of its ports.
    pub port: Port,
    /// Its share relative to its siblings. Default 1; 0 takes nothing.
    #[cfg_attr(test, schemars(with = "Option<Weight>"))]
    pub weight: Weight,
}

impl BackendRef {
    /// The destination, for a route that lives in `namespace`.
    pub fn service(&self, namespace: &Name) -> ServiceName {
        resolve(self.namespace.as_ref(), &self.name, namespace)
    }
}

/// A share of an HTTPRoute rule's requests, and what is done to it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename = "HTTPBackendRef")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HttpBackendRef {
    /// Who gets it.
    #[serde(flatten)]
    pub backend: BackendRef,
    /// After the rule's own. At most 16.
    #[serde(default)]
    pub filters: Vec<HttpFilter>,
}

/// A share of a GRPCRoute rule's calls, and what is done to it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename = "GRPCBackendRef")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GrpcBackendRef {
    /// Who gets it.
    #[serde(flatten)]
    pub backend: BackendRef,
    /// After the rule's own. At most 16.
    #[serde(default)]
    pub filters: Vec<GrpcFilter>,
}

/// A port of a service that stands in (`fallback.backendRef`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ServiceRef {
    /// Default: the policy's own. Another one needs a ReferenceGrant there.
    pub namespace: Option<Name>,
    /// The Service.
    pub name: Name,
    /// Which of its ports.
    pub port: Port,
}

impl ServiceRef {
    /// The destination, for a policy that lives in `namespace`.
    pub fn service(&self, namespace: &Name) -> ServiceName {
        resolve(self.namespace.as_ref(), &self.name, namespace)
    }
}

pub(super) fn resolve(given: Option<&Name>, name: &Name, own: &Name) -> ServiceName {
    ServiceName {
        namespace: given.unwrap_or(own).clone(),
        name: name.clone(),
    }
}

/// The mesh's own namespace: the control plane's identity lives there, and only policies that live there may be
/// attached to the whole [`TargetKind::Mesh`]. (A Mesh itself belongs to no namespace.)
pub const MESH_NAMESPACE: &str = "usher-system";

choice! {
    /// What a policy may be attached to, widest first.
    pub enum TargetKind {
        /// Everything; only for policies in [`MESH_NAMESPACE`].
        Mesh = "Mesh",
        /// Everything in the policy's own namespace.
        Namespace = "Namespace",
        /// One Service of the policy's own namespace.
        Service = "Service",
        /// One Gateway of the policy's own namespace.
        Gateway = "Gateway",
        /// One HTTPRoute of the policy's own namespace, or one of its rules.
        HttpRoute = "HTTPRoute",
        /// One GRPCRoute of the policy's own namespace, or one of its rules.
        GrpcRoute = "GRPCRoute",
    }
}

impl TargetKind {
    /// The API group its objects belong to.
    pub fn group(self) -> &'static str {
        match self {
            Self::Mesh => "usher.dev",
            Self::Namespace | Self::Service => "",
            Self::Gateway | Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
        }
    }
}

choice! {
    /// The kinds that attach to targets: one object of a kind per exact target.
    pub enum PolicyKind {
        /// See [`super::BackendTlsPolicySpec`].
        BackendTls = "BackendTLSPolicy",
        /// See [`super::TrafficPolicySpec`].
        Traffic = "TrafficPolicy",
        /// See [`super::AccessPolicySpec`].
        Access = "AccessPolicy",
        /// See [`super::AuthenticationPolicySpec`].
        Authentication = "AuthenticationPolicy",
        /// See [`super::FaultPolicySpec`].
        Fault = "FaultPolicy",
        /// See [`super::RateLimitPolicySpec`].
        RateLimit = "RateLimitPolicy",
    }
}

/// What a policy is attached to (GEP-713). Targets are local: nobody sets policy for somebody else's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRef {
    /// Its kind; the group follows from it, and a group that contradicts it is refused.
    pub kind: TargetKind,
    /// Its name; for [`TargetKind::Namespace`] the policy's own namespace.
    pub name: Name,
    /// One rule of a route, or one port of a Service, by its name. Nothing else has sections here.
    pub section_name: Option<Name>,
}

/// How a [`TargetRef`] looks on paper.
#[derive(Serialize)]
#[serde(rename = "TargetRef", rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct TargetRefShape {
    /// The kind's API group; may be left out.
    group: Option<String>,
    /// Mesh only for a policy in the namespace `usher-system`.
    kind: TargetKind,
    /// Local to the policy's namespace; of a Namespace, its own name.
    name: Name,
    /// A rule of a route; for a BackendTLSPolicy a port of a Service.
    section_name: Option<Name>,
}

impl Serialize for TargetRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TargetRefShape {
            group: Some(self.kind.group().into()),
            kind: self.kind,
            name: self.name.clone(),
            section_name: self.section_name.clone(),
        }
        .serialize(serializer)
    }
}

super::matches::schema_as!(TargetRef, TargetRefShape);
