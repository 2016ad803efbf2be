//! `Service` (core/v1): a name that callers use, and the workloads behind it.

use std::{collections::BTreeMap, net::IpAddr};

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, Port};

use super::{Kind, choice::choice};

/// A named set of endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ServiceSpec {
    /// Labels that a Workload of the same namespace must carry, all of them, for its instances to answer as this
    /// service. Empty selects nobody (as in Kubernetes).
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// At least one; numbers and names are unique.
    pub ports: Vec<ServicePort>,
    /// A fixed address. Default: off Kubernetes one from the mesh's `virtualCidr`.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<IpAddr>,
}

impl ServiceSpec {
    /// Whether the selector takes these labels.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty()
            && self
                .selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ServicePort {
    /// Needed where there are several ports.
    pub name: Option<Name>,
    /// What callers dial.
    pub port: Port,
    /// What the application listens on. Default: `port`. Off Kubernetes each sidecar is told its application's
    /// port (`--port`), which goes before this.
    pub target_port: Option<Port>,
    /// What is spoken. Default: decided by the first bytes of each connection, whoever says them; an application that
    /// speaks first (SMTP, MySQL) is connected to meanwhile.
    pub app_protocol: Option<AppProtocol>,
    /// The transport; TCP is the only one carried.
    #[cfg_attr(test, schemars(with = "Option<Transport>"))]
    pub protocol: Transport,
}

impl ServicePort {
    /// Whether it has what a kind of route is about. One that declares nothing may have both, requests and connections.
    pub fn carries(&self, kind: Kind) -> bool {
        let declared = self.app_protocol.map(AppProtocol::is_opaque);
        declared.is_none_or(|opaque| opaque == kind.is_of_connections())
    }
}

choice! {
    /// The transport below.
    pub enum Transport {
        /// The only one carried.
        Tcp = "TCP",
    }
}

choice! {
    /// What is spoken on a port.
    pub enum AppProtocol {
        /// HTTP/1.1, upgrades included.
        Http = "http",
        /// HTTP/2 with prior knowledge.
        Http2 = "kubernetes.io/h2c" | "http2",
        /// gRPC over HTTP/2.
        Grpc = "grpc",
        /// Opaque bytes: balanced per connection, no retries by status, no paths.
        Tcp = "tcp",
        /// TLS of the application's own (HTTPS, LDAPS): carried unopened, as opaque bytes inside the mesh's TLS. Who calls is
        /// still known and decided about; what is asked is not.
        Tls = "tls" | "https",
    }
}

impl AppProtocol {
    /// Whether the mesh only carries what is spoken.
    pub fn is_opaque(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}
