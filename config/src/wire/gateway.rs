//! `Gateway`: listeners and the routes on them.

use std::sync::Arc;

use crate::{
    model::{Gateway, GatewayRoute, Listener, ListenerProtocol, StreamRoute},
    value::Name,
};

use super::{
    DecodeError,
    scalar::{Decoded, list, port, required, service_name, text},
    service::{decode_backend, decode_route},
    v1,
};

impl From<&Gateway> for v1::Gateway {
    fn from(gateway: &Gateway) -> Self {
        Self {
            namespace: gateway.name.namespace.to_string(),
            name: gateway.name.name.to_string(),
            listeners: gateway.listeners.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Gateway> for Gateway {
    type Error = DecodeError;
    fn try_from(message: v1::Gateway) -> Decoded<Self> {
        decode_gateway(message).map_err(|e| e.within("Gateway"))
    }
}

fn decode_gateway(message: v1::Gateway) -> Decoded<Gateway> {
    Ok(Gateway {
        name: service_name(&message.namespace, &message.name)?,
        listeners: list("listeners", message.listeners, decode_listener)?,
    })
}

impl From<&Listener> for v1::Listener {
    fn from(listener: &Listener) -> Self {
        use v1::listener::Protocol as P;
        let hostname = listener.hostname.as_ref();
        let protocol = match listener.protocol {
            ListenerProtocol::Http => P::Http,
            ListenerProtocol::Https => P::Https,
            ListenerProtocol::TlsTerminate => P::TlsTerminate,
            ListenerProtocol::TlsPassthrough => P::TlsPassthrough,
            ListenerProtocol::Tcp => P::Tcp,
        };
        Self {
            name: listener.name.to_string(),
            port: listener.port.get().into(),
            hostname: hostname.map(ToString::to_string).unwrap_or_default(),
            protocol: protocol as i32,
            certificates: listener
                .certificates
                .iter()
                .map(ToString::to_string)
                .collect(),
            routes: listener.routes.iter().map(Into::into).collect(),
            streams: listener.streams.iter().map(Into::into).collect(),
        }
    }
}

fn decode_listener(message: v1::Listener) -> Decoded<Listener> {
    Ok(Listener {
        name: text("name", &message.name)?,
        port: port("port", message.port)?,
        hostname: optional("hostname", &message.hostname)?,
        protocol: protocol(message.protocol)?,
        certificates: list("certificates", message.certificates, |name| {
            text::<Name>("", &name)
        })?,
        routes: list("routes", message.routes, decode_gateway_route)?,
        streams: list("streams", message.streams, decode_stream)?,
    })
}

/// Empty is absent.
fn optional<T>(field: &str, written: &str) -> Decoded<Option<T>>
where
    T: std::str::FromStr<Err = crate::value::InvalidValue>,
{
    (!written.is_empty())
        .then(|| text(field, written))
        .transpose()
}

fn protocol(number: i32) -> Decoded<ListenerProtocol> {
    use v1::listener::Protocol as P;
    match P::try_from(number) {
        Ok(P::Http) => Ok(ListenerProtocol::Http),
        Ok(P::Https) => Ok(ListenerProtocol::Https),
        Ok(P::TlsTerminate) => Ok(ListenerProtocol::TlsTerminate),
        Ok(P::TlsPassthrough) => Ok(ListenerProtocol::TlsPassthrough),
        Ok(P::Tcp) => Ok(ListenerProtocol::Tcp),
        Ok(P::Unspecified) | Err(_) => Err(DecodeError::at(
            "protocol",
            number,
            "a protocol of this version (1-5)",
        )),
    }
}

impl From<&GatewayRoute> for v1::GatewayRoute {
    fn from(route: &GatewayRoute) -> Self {
        let policies = route.policies.iter().map(|policy| v1::BackendPolicy {
            policy: policy.as_ref().map(|policy| (&**policy).into()),
        });
        Self {
            route: Some((&route.route).into()),
            policies: policies.collect(),
        }
    }
}

fn decode_gateway_route(message: v1::GatewayRoute) -> Decoded<GatewayRoute> {
    let route = decode_route(required("route", message.route)?).map_err(|e| e.under("route"))?;
    if route.hostnames.len() > 1 {
        let found = route.hostnames.len();
        return Err(DecodeError::at("route.hostnames", found, "at most one"));
    }
    if message.policies.len() != route.backends.len() {
        let found = message.policies.len();
        return Err(DecodeError::at(
            "policies",
            found,
            "as many as the route has backends",
        ));
    }
    let policies = list("policies", message.policies, |policy| {
        let policy = policy
            .policy
            .map(super::policy::decode_policy)
            .transpose()?;
        Ok(policy.map(Arc::new))
    })?;
    Ok(GatewayRoute { route, policies })
}

impl From<&StreamRoute> for v1::StreamRoute {
    fn from(route: &StreamRoute) -> Self {
        let hostname = route.hostname.as_ref();
        Self {
            name: route.name.to_string(),
            hostname: hostname.map(ToString::to_string).unwrap_or_default(),
            backends: route.backends.iter().map(Into::into).collect(),
        }
    }
}

fn decode_stream(message: v1::StreamRoute) -> Decoded<StreamRoute> {
    Ok(StreamRoute {
        name: message.name.into(),
        hostname: optional("hostname", &message.hostname)?,
        backends: list("backends", message.backends, decode_backend)?,
    })
}
