//! `Gateway` (Gateway API v1): where the outside world comes in. Shape and meaning are upstream's.
//!
//! A Gateway is run by the instances of the Workload of its name and namespace, under that Workload's identity.
//! Private keys are nowhere in configuration: `certificateRefs` name them, and each gateway process is given the
//! files at its start.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Hostname, Name, Port, ServiceName};

use super::{CoreGroup, choice::choice};

/// The listeners of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GatewaySpec {
    /// Always `usher`: a Gateway of another class is another product's.
    pub gateway_class_name: GatewayClass,
    /// At least one, at most 64. Listeners of one port speak one protocol (HTTPS and TLS are one) and differ in their
    /// hostnames.
    pub listeners: Vec<Listener>,
}

choice! {
    /// The class that this product implements.
    pub enum GatewayClass {
        /// The only one.
        Usher = "usher",
    }
}

/// A port, a protocol and a host name: what routes attach to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Listener {
    /// What `sectionName` of a route's parentRef calls it; unique in the Gateway.
    pub name: Name,
    /// Only requests (by `Host`) or connections (by SNI) for this name, or below this wildcard. Default: all. A request
    /// belongs to one listener only: of several on a port to the one that names its host most precisely.
    pub hostname: Option<Hostname>,
    /// Where it listens. A gateway process may be told to bind another one for it (`--listen`).
    pub port: Port,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// For HTTPS and TLS only, and needed there.
    pub tls: Option<ListenerTls>,
    /// Whose routes may attach. Default: those of the Gateway's own namespace.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

choice! {
    /// What is spoken at a listener.
    pub enum ListenerProtocol {
        /// Plaintext HTTP/1.1, and HTTP/2 with prior knowledge.
        Http = "HTTP",
        /// HTTP/1.1 and HTTP/2 over TLS that ends here.
        Https = "HTTPS",
        /// TLS that is passed on unopened, by SNI; or ends here, its content opaque.
        Tls = "TLS",
        /// Opaque bytes.
        Tcp = "TCP",
    }
}

/// What becomes of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ListenerTls {
    /// Default Terminate. Passthrough only with protocol TLS.
    #[cfg_attr(test, schemars(with = "Option<TlsMode>"))]
    pub mode: TlsMode,
    /// What to show to callers: of several the first that covers the caller's SNI and that the caller can verify. At
    /// least one for Terminate, none for Passthrough.
    #[serde(default)]
    pub certificate_refs: Vec<CertificateRef>,
}

choice! {
    /// Who holds the key.
    pub enum TlsMode {
        /// This gateway.
        Terminate = "Terminate",
        /// The backend: what is inside stays unseen, routes match by SNI.
        Passthrough = "Passthrough",
    }
}

/// A certificate with its key, by name. Off Kubernetes the gateway process has the files
/// (`usher gateway --certificate NAME=CERT,KEY`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct CertificateRef {
    /// Always the core group; may be left out.
    #[cfg_attr(test, schemars(with = "Option<CoreGroup>"))]
    pub group: CoreGroup,
    /// Always a Secret; may be left out.
    #[cfg_attr(test, schemars(with = "Option<SecretKind>"))]
    pub kind: SecretKind,
    /// Default: the Gateway's own. Another one has to allow it by a ReferenceGrant, and the certificate is then called
    /// `namespace/name`.
    pub namespace: Option<Name>,
    /// Which one.
    pub name: Name,
}

impl CertificateRef {
    /// `namespace/name`, for a Gateway in `own`.
    pub fn full_name(&self, own: &Name) -> ServiceName {
        ServiceName {
            namespace: self.namespace.clone().unwrap_or_else(|| own.clone()),
            name: self.name.clone(),
        }
    }
}

choice! {
    /// What holds a certificate and its key.
    pub enum SecretKind {
        /// Of type `kubernetes.io/tls`.
        Secret = "Secret",
    }
}

/// Whose routes may attach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AllowedRoutes {
    /// From which namespaces.
    #[serde(default)]
    pub namespaces: RouteNamespaces,
    /// Of which kinds. Empty: all that the protocol can carry.
    #[serde(default)]
    pub kinds: Vec<RouteGroupKind>,
}

/// From which namespaces routes may come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RouteNamespaces {
    /// Default Same.
    pub from: Option<FromNamespaces>,
    /// With `from: Selector` only. Off Kubernetes a namespace has one label, `kubernetes.io/metadata.name`, its name.
    pub selector: Option<NamespaceSelector>,
}

choice! {
    /// From which namespaces.
    pub enum FromNamespaces {
        /// Any.
        All = "All",
        /// Those whose labels the selector takes.
        Selector = "Selector",
        /// The Gateway's own.
        Same = "Same",
    }
}

/// A label selector: everything in it must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct NamespaceSelector {
    /// Labels with exactly these values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(default)]
    pub match_expressions: Vec<SelectorExpression>,
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SelectorExpression {
    /// Which label.
    pub key: String,
    /// How it is compared.
    pub operator: SelectorOperator,
    /// For In and NotIn, at least one; else none.
    #[serde(default)]
    pub values: Vec<String>,
}

choice! {
    /// How a label is compared.
    pub enum SelectorOperator {
        /// It has one of the values.
        In = "In",
        /// It has none of the values, or is not there.
        NotIn = "NotIn",
        /// It is there.
        Exists = "Exists",
        /// It is not there.
        DoesNotExist = "DoesNotExist",
    }
}

impl NamespaceSelector {
    /// Whether it takes a namespace with these labels.
    pub fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        let exact = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(exact)
            && self.match_expressions.iter().all(|expression| {
                let value = labels.get(&expression.key);
                let listed = value.is_some_and(|value| expression.values.contains(value));
                match expression.operator {
                    SelectorOperator::In => listed,
                    SelectorOperator::NotIn => !listed,
                    SelectorOperator::Exists => value.is_some(),
                    SelectorOperator::DoesNotExist => value.is_none(),
                }
            })
    }
}

/// A kind of route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RouteGroupKind {
    /// Always Gateway API's; may be left out.
    #[cfg_attr(test, schemars(with = "Option<GatewayGroup>"))]
    pub group: GatewayGroup,
    /// Which one.
    pub kind: RouteKind,
}

choice! {
    /// Gateway API's group.
    pub enum GatewayGroup {
        /// The only one.
        GatewayApi = "gateway.networking.k8s.io",
    }
}

choice! {
    /// The kinds of routes.
    pub enum RouteKind {
        /// HTTP requests.
        Http = "HTTPRoute",
        /// gRPC calls.
        Grpc = "GRPCRoute",
        /// TLS connections, by SNI.
        Tls = "TLSRoute",
        /// TCP connections.
        Tcp = "TCPRoute",
    }
}

impl Listener {
    /// What becomes of TLS; `None`: there is none.
    pub fn tls_mode(&self) -> Option<TlsMode> {
        self.tls.as_ref().map(|tls| tls.mode)
    }

    /// The kinds of routes that its protocol can carry.
    pub fn route_kinds(&self) -> &'static [RouteKind] {
        match (self.protocol, self.tls_mode()) {
            (ListenerProtocol::Http | ListenerProtocol::Https, _) => {
                &[RouteKind::Http, RouteKind::Grpc]
            }
            (ListenerProtocol::Tls, Some(TlsMode::Terminate)) => &[RouteKind::Tls, RouteKind::Tcp],
            (ListenerProtocol::Tls, _) => &[RouteKind::Tls],
            (ListenerProtocol::Tcp, _) => &[RouteKind::Tcp],
        }
    }

    /// Whether routes of this kind may attach.
    pub fn takes_kind(&self, kind: RouteKind) -> bool {
        let listed = &self.allowed_routes.kinds;
        self.route_kinds().contains(&kind)
            && (listed.is_empty() || listed.iter().any(|allowed| allowed.kind == kind))
    }
}
