//! `Endpoint`, `TrustBundle` and `Revision`.

use std::net::SocketAddr;

use crate::{
    model::{Endpoint, Revision, TrustBundle},
    value::InstanceName,
};

use super::{
    DecodeError,
    scalar::{Decoded, ports, service_name, text, weight},
    v1,
};

impl From<&Endpoint> for v1::Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            namespace: endpoint.name.service.namespace.to_string(),
            service: endpoint.name.service.name.to_string(),
            instance: endpoint.name.instance.to_string(),
            address: endpoint.address.to_string(),
            address_is_own: endpoint.address_is_own,
            meshed: endpoint.meshed,
            weight: endpoint.weight.get(),
            zone: endpoint.zone.clone(),
            healthy: endpoint.healthy,
            ports: endpoint
                .ports
                .iter()
                .map(|port| port.get().into())
                .collect(),
        }
    }
}

impl TryFrom<v1::Endpoint> for Endpoint {
    type Error = DecodeError;
    fn try_from(message: v1::Endpoint) -> Decoded<Self> {
        decode_endpoint(message).map_err(|e| e.within("Endpoint"))
    }
}

fn decode_endpoint(message: v1::Endpoint) -> Decoded<Endpoint> {
    let address = message
        .address
        .parse::<SocketAddr>()
        .ok()
        .filter(|a| a.port() != 0);
    Ok(Endpoint {
        name: InstanceName {
            service: service_name(&message.namespace, &message.service)?,
            instance: text("instance", &message.instance)?,
        },
        address: address
            .ok_or_else(|| DecodeError::at("address", &message.address, "`ip:port`, port not 0"))?,
        address_is_own: message.address_is_own,
        meshed: message.meshed,
        weight: weight("weight", message.weight)?,
        zone: message.zone,
        healthy: message.healthy,
        ports: ports("ports", &message.ports)?,
    })
}

impl From<&TrustBundle> for v1::TrustBundle {
    fn from(bundle: &TrustBundle) -> Self {
        Self {
            trust_domain: bundle.trust_domain.to_string(),
            version: bundle.version,
            roots_der: bundle.roots.clone(),
        }
    }
}

impl TryFrom<v1::TrustBundle> for TrustBundle {
    type Error = DecodeError;
    fn try_from(message: v1::TrustBundle) -> Decoded<Self> {
        let trust_domain = text("trust_domain", &message.trust_domain);
        if message.roots_der.is_empty() {
            let error = DecodeError::at("roots_der", "nothing", "at least one root certificate");
            return Err(error.within("TrustBundle"));
        }
        Ok(Self {
            trust_domain: trust_domain.map_err(|e| e.within("TrustBundle"))?,
            version: message.version,
            roots: message.roots_der,
        })
    }
}

impl From<&Revision> for v1::Revision {
    fn from(revision: &Revision) -> Self {
        Self {
            number: revision.number,
            digest: revision.digest.clone(),
        }
    }
}

impl TryFrom<v1::Revision> for Revision {
    type Error = DecodeError;
    fn try_from(message: v1::Revision) -> Decoded<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if message.digest.len() != 64 || !message.digest.bytes().all(hex) {
            let error = DecodeError::at("digest", &message.digest, "64 lower-case hex digits");
            return Err(error.within("Revision"));
        }
        Ok(Self {
            number: message.number,
            digest: message.digest,
        })
    }
}
