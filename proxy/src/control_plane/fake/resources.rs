//! What the mesh of a fake control plane is.

use prost::Message;
use prost_types::Any;
use usher_config::wire::{
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource},
    type_url, v1,
};

pub(super) fn responses(
    request: &DeltaDiscoveryRequest,
    root: &[u8],
) -> Vec<DeltaDiscoveryResponse> {
    if request.resource_names_subscribe.is_empty() {
        return Vec::new();
    }
    let mut answer = response(&request.type_url);
    for name in &request.resource_names_subscribe {
        match (request.type_url.as_str(), name.as_str()) {
            (type_url::SERVICE, "bank/account") => {
                answer
                    .resources
                    .push(resource(type_url::SERVICE, name, service()))
            }
            (type_url::ENDPOINT, "bank/account/*") => {
                answer
                    .resources
                    .push(resource(type_url::ENDPOINT, "bank/account/a", endpoint()));
            }
            (type_url::TRUST_BUNDLE, _) => {
                let bundle = v1::TrustBundle {
                    trust_domain: "usher.local".into(),
                    version: 1,
                    roots_der: vec![root.to_vec()],
                };
                let bundle = resource(type_url::TRUST_BUNDLE, "usher.local", bundle);
                answer.resources.push(bundle);
            }
            (type_url::SERVICE, _) => answer.removed_resources.push(name.clone()),
            _ => {}
        }
    }
    let mut closing = response(type_url::REVISION);
    let revision = v1::Revision {
        number: 7,
        digest: "d".repeat(64),
    };
    closing
        .resources
        .push(resource(type_url::REVISION, "usher.local", revision));
    vec![answer, closing]
}

fn response(type_url: &str) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: type_url.into(),
        nonce: "n".into(),
        ..Default::default()
    }
}

fn resource(type_url: &str, name: &str, message: impl Message) -> Resource {
    let resource = Some(Any {
        type_url: type_url.into(),
        value: message.encode_to_vec(),
    });
    Resource {
        version: "1".into(),
        resource,
        name: name.into(),
        aliases: Vec::new(),
    }
}

fn service() -> v1::Service {
    use usher_config::model::{Protocol, Service, ServicePort};
    let port = ServicePort {
        name: "grpc".parse().unwrap(),
        port: "50051".parse().unwrap(),
        protocol: Protocol::Grpc,
        tls: None,
    };
    v1::Service::from(&Service {
        name: "bank/account".parse().unwrap(),
        virtual_addresses: Vec::new(),
        ports: vec![port],
        identities: Vec::new(),
        policy: Default::default(),
        routes: Vec::new(),
        streams: Vec::new(),
    })
}

fn endpoint() -> v1::Endpoint {
    v1::Endpoint {
        namespace: "bank".into(),
        service: "account".into(),
        instance: "a".into(),
        address: "127.0.0.1:9".into(),
        address_is_own: true,
        meshed: true,
        weight: 1,
        healthy: true,
        ..Default::default()
    }
}
