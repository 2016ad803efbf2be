//! `Gateway`: listeners and the routes on them; those for connections are in [`super::stream`].

use std::sync::Arc;

use crate::{
    model::{Authentication, Gateway, GatewayRoute, Listener, ListenerProtocol, RateLimits},
    value::{CertificateName, EmptySegments, PathParameters},
};

use super::{
    DecodeError,
    authentication::{decode_authentication, decode_header_name, header_names},
    inbound_policy::decode_path_reading,
    rate_limit::decode_limits,
    route::{Decoder, Encoder},
    scalar::{Decoded, list, optional, port, required, service_name, text},
    stream::decode_stream,
    v1,
};

impl From<&Gateway> for v1::Gateway {
    fn from(gateway: &Gateway) -> Self {
        let mut encoder = Encoder::default();
        Self {
            namespace: gateway.name.namespace.to_string(),
            name: gateway.name.name.to_string(),
            listeners: gateway
                .listeners
                .iter()
                .map(|listener| encode_listener(listener, &mut encoder))
                .collect(),
            tables: encoder.tables(),
            claim_headers: header_names(&gateway.claim_headers),
            authentication: gateway.authentication.as_ref().map(Into::into),
            route_authentication: gateway
                .route_authentication
                .iter()
                .map(encode_authentication_of)
                .collect(),
            rate_limits: gateway.rate_limits.iter().map(Into::into).collect(),
            route_limits: gateway.route_limits.iter().map(encode_of_route).collect(),
            keep_empty_segments: gateway.path_reading.empty_segments == EmptySegments::Keep,
            keep_path_parameters: gateway.path_reading.parameters == PathParameters::Keep,
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
    let tables = Decoder::new(message.tables)?;
    let authentication = message.authentication.map(decode_authentication);
    let authentication = authentication.transpose();
    Ok(Gateway {
        name: service_name(&message.namespace, &message.name)?,
        listeners: list("listeners", message.listeners, |listener| {
            decode_listener(listener, &tables)
        })?,
        claim_headers: list("claim_headers", message.claim_headers, decode_header_name)?,
        authentication: authentication.map_err(|e| e.under("authentication"))?,
        route_authentication: list(
            "route_authentication",
            message.route_authentication,
            decode_authentication_of,
        )?,
        rate_limits: list("rate_limits", message.rate_limits, decode_limits)?,
        route_limits: list("route_limits", message.route_limits, decode_of_route)?,
        path_reading: decode_path_reading(
            message.keep_empty_segments,
            message.keep_path_parameters,
        ),
    })
}

fn encode_authentication_of(
    (route, authentication): &(Arc<str>, Authentication),
) -> v1::RouteAuthentication {
    v1::RouteAuthentication {
        route: route.to_string(),
        authentication: Some(authentication.into()),
    }
}

fn decode_authentication_of(
    message: v1::RouteAuthentication,
) -> Decoded<(Arc<str>, Authentication)> {
    let authentication = required("authentication", message.authentication)?;
    Ok((message.route.into(), decode_authentication(authentication)?))
}

fn encode_of_route((route, limits): &(Arc<str>, RateLimits)) -> v1::RouteLimits {
    v1::RouteLimits {
        route: route.to_string(),
        limits: Some(limits.into()),
    }
}

fn decode_of_route(message: v1::RouteLimits) -> Decoded<(Arc<str>, RateLimits)> {
    let limits = decode_limits(required("limits", message.limits)?)?;
    Ok((message.route.into(), limits))
}

fn encode_listener(listener: &Listener, encoder: &mut Encoder) -> v1::Listener {
    use v1::listener::Protocol as P;
    let hostname = listener.hostname.as_ref();
    let protocol = match listener.protocol {
        ListenerProtocol::Http => P::Http,
        ListenerProtocol::Https => P::Https,
        ListenerProtocol::TlsTerminate => P::TlsTerminate,
        ListenerProtocol::TlsPassthrough => P::TlsPassthrough,
        ListenerProtocol::Tcp => P::Tcp,
    };
    v1::Listener {
        name: listener.name.to_string(),
        port: listener.port.get().into(),
        hostname: hostname.map(ToString::to_string).unwrap_or_default(),
        protocol: protocol as i32,
        certificates: listener
            .certificates
            .iter()
            .map(ToString::to_string)
            .collect(),
        routes: listener
            .routes
            .iter()
            .map(|route| encoder.route(&route.route, &route.policies))
            .collect(),
        streams: listener.streams.iter().map(Into::into).collect(),
    }
}

fn decode_listener(message: v1::Listener, tables: &Decoder) -> Decoded<Listener> {
    Ok(Listener {
        name: text("name", &message.name)?,
        port: port("port", message.port)?,
        hostname: optional("hostname", &message.hostname)?,
        protocol: protocol(message.protocol)?,
        certificates: list("certificates", message.certificates, |name| {
            text::<CertificateName>("", &name)
        })?,
        routes: list("routes", message.routes, |route| {
            decode_route(route, tables)
        })?,
        streams: list("streams", message.streams, decode_stream)?,
    })
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

fn decode_route(message: v1::Route, tables: &Decoder) -> Decoded<GatewayRoute> {
    if message.hostnames.len() > 1 {
        let found = message.hostnames.len();
        return Err(DecodeError::at("hostnames", found, "at most one"));
    }
    let route = tables.gateway_route(message)?;
    if route.policies.len() != route.route.backends.len() {
        let found = route.policies.len();
        let allowed = "as many policies of backends as its rule has backends";
        return Err(DecodeError::at("rule", found, allowed));
    }
    Ok(route)
}
