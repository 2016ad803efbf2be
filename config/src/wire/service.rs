//! `Service` and its routes.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderName, Method};

use crate::{
    model::{
        Backend, BackendTarget, PathMatch, Route, RouteMatch, Service, ServicePort, ServiceTarget,
        TextMatch,
    },
    value::{Hostname, SpiffeId},
};

use super::{
    DecodeError,
    filter::decode_filters,
    scalar::{
        Decoded, list, port, ports, protocol, required, service_name, text, to_protocol, weight,
    },
    v1,
};

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
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
            routes: service.routes.iter().map(Into::into).collect(),
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
        routes: list("routes", message.routes, decode_route)?,
    })
}

impl From<&ServicePort> for v1::ServicePort {
    fn from(port: &ServicePort) -> Self {
        Self {
            name: port.name.to_string(),
            port: port.port.get().into(),
            protocol: to_protocol(port.protocol),
        }
    }
}

fn decode_port(message: v1::ServicePort) -> Decoded<ServicePort> {
    Ok(ServicePort {
        name: text("name", &message.name)?,
        port: port("port", message.port)?,
        protocol: protocol("protocol", message.protocol)?,
    })
}

impl From<&Route> for v1::Route {
    fn from(route: &Route) -> Self {
        Self {
            name: route.name.to_string(),
            ports: route.ports.iter().map(|port| port.get().into()).collect(),
            hostnames: route.hostnames.iter().map(ToString::to_string).collect(),
            r#match: Some((&route.matches).into()),
            backends: route.backends.iter().map(Into::into).collect(),
            policy: Some((&*route.policy).into()),
            filters: route.filters.as_deref().map(Into::into),
            callers: route
                .callers
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

pub(super) fn decode_route(message: v1::Route) -> Decoded<Route> {
    let policy = required("policy", message.policy)?;
    let matches = message.r#match.unwrap_or_default();
    Ok(Route {
        name: message.name.into(),
        ports: ports("ports", &message.ports)?,
        hostnames: list("hostnames", message.hostnames, |name| {
            text::<Hostname>("", &name)
        })?,
        matches: decode_match(matches).map_err(|e| e.under("match"))?,
        backends: list("backends", message.backends, decode_backend)?,
        policy: Arc::new(super::policy::decode_policy(policy).map_err(|e| e.under("policy"))?),
        filters: decode_filters(message.filters).map_err(|e| e.under("filters"))?,
        callers: match message.callers.as_str() {
            "" => None,
            namespace => Some(text("callers", namespace)?),
        },
    })
}

impl From<&RouteMatch> for v1::RouteMatch {
    fn from(matches: &RouteMatch) -> Self {
        let path = match &matches.path {
            PathMatch::Exact(path) => v1::path_match::Kind::Exact(path.clone()),
            PathMatch::Prefix(path) => v1::path_match::Kind::Prefix(path.clone()),
            PathMatch::Regex(pattern) => v1::path_match::Kind::Regex(pattern.as_str().to_owned()),
        };
        Self {
            path: Some(v1::PathMatch { kind: Some(path) }),
            method: matches
                .method
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            headers: matches
                .headers
                .iter()
                .map(|(n, m)| named_match(n.as_str(), m))
                .collect(),
            query: matches
                .query
                .iter()
                .map(|(n, m)| named_match(n, m))
                .collect(),
        }
    }
}

pub(super) fn named_match(name: &str, matches: &TextMatch) -> v1::NamedMatch {
    let kind = match matches {
        TextMatch::Exact(value) => v1::named_match::Kind::Exact(value.clone()),
        TextMatch::Regex(pattern) => v1::named_match::Kind::Regex(pattern.as_str().to_owned()),
    };
    v1::NamedMatch {
        name: name.to_owned(),
        kind: Some(kind),
    }
}

fn decode_match(message: v1::RouteMatch) -> Decoded<RouteMatch> {
    Ok(RouteMatch {
        path: decode_path(message.path.and_then(|path| path.kind))?,
        method: match message.method.as_str() {
            "" => None,
            method => Some(Method::from_bytes(method.as_bytes()).map_err(|_| {
                DecodeError::at("method", method, "an HTTP method (RFC 9110 token)")
            })?),
        },
        headers: list("headers", message.headers, decode_named_match)?,
        query: list("query", message.query, |query| {
            Ok((query.name, decode_text_match(query.kind)?))
        })?,
    })
}

fn decode_path(kind: Option<v1::path_match::Kind>) -> Decoded<PathMatch> {
    let absolute = |path: String| {
        if path.starts_with('/') {
            Ok(path)
        } else {
            Err(DecodeError::at("path", path, "a path that begins with '/'"))
        }
    };
    match kind {
        None => Ok(PathMatch::default()),
        Some(v1::path_match::Kind::Exact(path)) => absolute(path).map(PathMatch::Exact),
        Some(v1::path_match::Kind::Prefix(path)) => absolute(path).map(PathMatch::Prefix),
        Some(v1::path_match::Kind::Regex(pattern)) => text("path", &pattern).map(PathMatch::Regex),
    }
}

pub(super) fn decode_named_match(header: v1::NamedMatch) -> Decoded<(HeaderName, TextMatch)> {
    let name = HeaderName::from_bytes(header.name.as_bytes())
        .map_err(|_| DecodeError::at("name", &header.name, "a header name"))?;
    Ok((name, decode_text_match(header.kind)?))
}

fn decode_text_match(kind: Option<v1::named_match::Kind>) -> Decoded<TextMatch> {
    match required("value", kind)? {
        v1::named_match::Kind::Exact(value) => Ok(TextMatch::Exact(value)),
        v1::named_match::Kind::Regex(pattern) => text("value", &pattern).map(TextMatch::Regex),
    }
}

impl From<&Backend> for v1::Backend {
    fn from(backend: &Backend) -> Self {
        let target = match &backend.target {
            BackendTarget::Service(target) => v1::backend::Target::Service(target.into()),
            BackendTarget::Invalid(reason) => v1::backend::Target::Invalid(reason.clone()),
        };
        Self {
            weight: backend.weight.get(),
            target: Some(target),
            filters: backend.filters.as_deref().map(Into::into),
        }
    }
}

pub(super) fn decode_backend(message: v1::Backend) -> Decoded<Backend> {
    let target = match required("target", message.target)? {
        v1::backend::Target::Service(target) => BackendTarget::Service(decode_target(&target)?),
        v1::backend::Target::Invalid(reason) => BackendTarget::Invalid(reason),
    };
    Ok(Backend {
        weight: weight("weight", message.weight)?,
        target,
        filters: decode_filters(message.filters).map_err(|e| e.under("filters"))?,
    })
}

impl From<&ServiceTarget> for v1::ServiceTarget {
    fn from(target: &ServiceTarget) -> Self {
        Self {
            namespace: target.service.namespace.to_string(),
            name: target.service.name.to_string(),
            port: target.port.get().into(),
        }
    }
}

pub(super) fn decode_target(message: &v1::ServiceTarget) -> Decoded<ServiceTarget> {
    Ok(ServiceTarget {
        service: service_name(&message.namespace, &message.name)?,
        port: port("port", message.port)?,
    })
}
