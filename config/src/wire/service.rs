//! `Service`: who it is and where; its routes are in [`super::route`] and [`super::stream`].

use std::{net::IpAddr, sync::Arc};

use crate::{
    model::{Service, ServicePort},
    value::SpiffeId,
};

use super::{
    DecodeError,
    route::{Decoder, Encoder},
    scalar::{Decoded, list, port, protocol, required, service_name, text, to_protocol},
    stream::decode_stream,
    v1,
};

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
        let mut encoder = Encoder::default();
        Self {
            namespace: service.name.namespace.to_string(),
            name: service.name.name.to_string(),
            virtual_addresses: service
                .virtual_addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            ports: service.ports.iter().map(Into::into).collect(),
            identities: service.identities.iter().map(ToString::to_string).collect(),
            policy: Some((&*service.policy).into()),
            routes: service
                .routes
                .iter()
                .map(|route| encoder.route(route, &[]))
                .collect(),
            tables: encoder.tables(),
            streams: service.streams.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = DecodeError;
    fn try_from(message: v1::Service) -> Decoded<Self> {
        decode_service(message).map_err(|e| e.within("Service"))
    }
}

fn decode_service(message: v1::Service) -> Decoded<Service> {
    if message.ports.is_empty() {
        return Err(DecodeError::at("ports", "nothing", "at least one port"));
    }
    let policy = required("policy", message.policy)?;
    let tables = Decoder::new(message.tables)?;
    Ok(Service {
        name: service_name(&message.namespace, &message.name)?,
        virtual_addresses: list("virtual_addresses", message.virtual_addresses, |address| {
            address
                .parse::<IpAddr>()
                .map_err(|_| DecodeError::at("", address, "an IP address"))
        })?,
        ports: list("ports", message.ports, decode_port)?,
        identities: list("identities", message.identities, |id| {
            text::<SpiffeId>("", &id)
        })?,
        policy: Arc::new(super::policy::decode_policy(policy).map_err(|e| e.under("policy"))?),
        routes: list("routes", message.routes, |route| tables.route(route))?,
        streams: list("streams", message.streams, decode_stream)?,
    })
}

impl From<&ServicePort> for v1::ServicePort {
    fn from(port: &ServicePort) -> Self {
        Self {
            name: port.name.to_string(),
            port: port.port.get().into(),
            protocol: to_protocol(port.protocol),
            tls: port.tls.as_deref().map(Into::into),
        }
    }
}

fn decode_port(message: v1::ServicePort) -> Decoded<ServicePort> {
    Ok(ServicePort {
        name: text("name", &message.name)?,
        port: port("port", message.port)?,
        protocol: protocol("protocol", message.protocol)?,
        tls: match message.tls {
            None => None,
            Some(tls) => {
                let tls = super::backend_tls::decode_backend_tls(tls);
                Some(Arc::new(tls.map_err(|error| error.under("tls"))?))
            }
        },
    })
}
