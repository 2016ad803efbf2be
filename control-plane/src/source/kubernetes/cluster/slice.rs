//! An EndpointSlice: which addresses a Service has, and whether they want requests. Pure, total.

use std::net::IpAddr;

use serde_json::Value;
use usher_config::{
    kind::SERVICE_NAME_LABEL,
    value::{Name, Port},
};

use super::{
    service::number,
    text::{address, list, text},
};

/// As the API server bounds them.
const ENDPOINTS_MAX: usize = 1_000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 100;
/// Of a zone's name.
const ZONE_MAX: usize = 63;

/// Addresses of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Whose, in its own namespace.
    pub(crate) service: Name,
    /// By the names of the Service's ports: where each endpoint listens.
    pub(crate) ports: Vec<(Option<Name>, Port)>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<IpAddr>,
    /// It wants requests.
    pub(crate) ready: bool,
    /// It is about to leave.
    pub(crate) ends: bool,
    /// Empty: nobody said.
    pub(crate) zone: Box<str>,
    /// Which pod it is.
    pub(crate) pod: Option<Box<str>>,
}

impl Slice {
    /// `None`: it says of no Service where it is.
    pub(crate) fn of(slice: &Value) -> Option<Self> {
        let label = SERVICE_NAME_LABEL.replace('~', "~0").replace('/', "~1");
        let service = text(slice, &format!("/metadata/labels/{label}"))?;
        let service = service.parse().ok()?;
        if !matches!(text(slice, "/addressType"), Some("IPv4" | "IPv6")) {
            return None;
        }
        let ports = list(slice, "/ports").iter().filter_map(port);
        let namespace = text(slice, "/metadata/namespace").unwrap_or_default();
        let endpoints = list(slice, "/endpoints").iter().take(ENDPOINTS_MAX);
        let endpoints = endpoints.map(|one| endpoint(one, namespace));
        Some(Self {
            service,
            ports: ports.take(PORTS_MAX).collect(),
            endpoints: endpoints.filter(|one| !one.addresses.is_empty()).collect(),
        })
    }
}

fn port(port: &Value) -> Option<(Option<Name>, Port)> {
    if text(port, "/protocol").unwrap_or("TCP") != "TCP" {
        return None;
    }
    let name = text(port, "/name").filter(|name| !name.is_empty());
    let name = match name {
        Some(name) => Some(name.parse().ok()?),
        None => None,
    };
    Some((name, number(port.get("port")?)?))
}

fn endpoint(endpoint: &Value, namespace: &str) -> Endpoint {
    let addresses = list(endpoint, "/addresses").iter();
    let addresses = addresses.filter_map(|one| address(one.as_str()?));
    let condition = |way: &str| endpoint.pointer(way).and_then(Value::as_bool);
    let zone = text(endpoint, "/zone")
        .filter(|zone| zone.len() <= ZONE_MAX && zone.bytes().all(|byte| byte.is_ascii_graphic()));
    let is_here = text(endpoint, "/targetRef/namespace").unwrap_or(namespace) == namespace;
    let pod = text(endpoint, "/targetRef/name");
    let pod = pod.filter(|_| text(endpoint, "/targetRef/kind") == Some("Pod") && is_here);
    Endpoint {
        addresses: addresses.take(ADDRESSES_MAX).collect(),
        // As the API says: nothing said is ready, and not about to leave.
        ready: condition("/conditions/ready").unwrap_or(true),
        ends: condition("/conditions/terminating").unwrap_or(false),
        zone: zone.unwrap_or_default().into(),
        pod: pod.map(Into::into),
    }
}
