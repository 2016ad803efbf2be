//! A Service of the cluster as a Service of the mesh. Pure, total.
//!
//! Ports that carry no TCP are left out, and so is what has none: names for the outside (ExternalName), Services that only
//! lead to pods (headless, without ports). What is spoken on a port is what `appProtocol` says, where this mesh knows the word.

use std::net::IpAddr;

use serde_json::Value;
use usher_config::{
    kind::{
        AppProtocol, Choice as _, Metadata, Resource, Service, ServicePort, ServiceSpec, Transport,
    },
    value::{Name, Port},
};

use super::text::{labels, list, text};

/// As many as a Service may have in a file.
const PORTS_MAX: usize = 64;

/// `None`: nobody is called by it.
pub(super) fn service(namespace: &Name, name: &Name, object: &Value) -> Option<Service> {
    if text(object, "/spec/type") == Some("ExternalName") {
        return None;
    }
    let mut ports: Vec<ServicePort> = Vec::new();
    for port in list(object, "/spec/ports").iter().filter_map(port) {
        if ports.len() < PORTS_MAX && !ports.iter().any(|known| clash(known, &port)) {
            ports.push(port);
        }
    }
    if ports.len() > 1 {
        // The API server has none such: it could not be said which is meant.
        ports.retain(|port| port.name.is_some());
    }
    if ports.is_empty() {
        return None;
    }
    let address = text(object, "/spec/clusterIP").and_then(|text| text.parse::<IpAddr>().ok());
    Some(Resource {
        metadata: Metadata {
            name: name.clone(),
            namespace: namespace.clone(),
            labels: labels(object, "/metadata/labels"),
            annotations: Default::default(),
        },
        spec: ServiceSpec {
            selector: labels(object, "/spec/selector"),
            ports,
            cluster_ip: address.filter(|address| !address.is_unspecified()),
        },
    })
}

/// The API server has no such two.
fn clash(one: &ServicePort, other: &ServicePort) -> bool {
    one.port == other.port || one.name == other.name
}

fn port(port: &Value) -> Option<ServicePort> {
    if text(port, "/protocol").unwrap_or("TCP") != "TCP" {
        return None;
    }
    let name = text(port, "/name").filter(|name| !name.is_empty());
    let protocol = text(port, "/appProtocol");
    let known = AppProtocol::ALL.iter();
    let known = known.filter(|(word, _)| Some(*word) == protocol);
    Some(ServicePort {
        name: match name {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        },
        port: number(port.get("port")?)?,
        // A name is one for each pod; sidecars are told their application's port.
        target_port: port.get("targetPort").and_then(number),
        app_protocol: known.map(|(_, protocol)| *protocol).next(),
        protocol: Transport::Tcp,
    })
}

/// A port's number.
pub(super) fn number(value: &Value) -> Option<Port> {
    let number = u32::try_from(value.as_u64()?).ok()?;
    Port::try_from(number).ok()
}
