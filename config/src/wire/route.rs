//! Routes, with what they share sent once.
//!
//! A rule with 128 matches for 16 host names is 2,048 routes; each with its own copy of backends, filters and policies,
//! one route object could make a message that no receiver takes. So rules, matches and policies are tables in the
//! resource, and a route is two positions in them. Equal entries are one, in the order of their first use: the same model
//! always encodes to the same bytes.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, Method};
use prost::Message;

use crate::{
    model::{
        Backend, BackendTarget, Filters, GatewayRoute, PathMatch, Route, RouteMatch, ServiceTarget,
        TextMatch, TrafficPolicy,
    },
    value::{Hostname, Name},
};

use super::{
    DecodeError,
    filter::decode_filters,
    policy::decode_policy,
    scalar::{Decoded, list, optional, port, ports, required, service_name, text, weight},
    v1,
};

/// A gateway's policies of backends.
type Policies = [Option<Arc<TrafficPolicy>>];

/// Bytes that routes take in a resource when they share nothing with others there: never too few. With each, in a
/// gateway, the policies of its backends.
pub fn routes_size<'a>(
    routes: impl IntoIterator<Item = (&'a Route, &'a [Option<Arc<TrafficPolicy>>])>,
) -> usize {
    let mut encoder = Encoder::default();
    let routes = routes
        .into_iter()
        .map(|(route, policies)| encoder.route(route, policies).encoded_len() + FRAME);
    let routes: usize = routes.sum();
    routes + encoder.policies.size() + encoder.matches.size() + encoder.rules.size()
}

/// For each element of a list, its tag and length in the list around it.
pub(super) const FRAME: usize = 12;

/// Equal messages once, in the order of their first use.
#[derive(Debug)]
struct Table<M> {
    messages: Vec<M>,
    positions: HashMap<Vec<u8>, u32>,
}

impl<M> Default for Table<M> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            positions: HashMap::new(),
        }
    }
}

impl<M: Message> Table<M> {
    fn position(&mut self, message: M) -> u32 {
        // Beyond 2³² it would have to be larger than any message.
        let next = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let position = *self
            .positions
            .entry(message.encode_to_vec())
            .or_insert(next);
        if position == next {
            self.messages.push(message);
        }
        position
    }

    fn size(&self) -> usize {
        let messages = self.messages.iter();
        messages.map(|message| message.encoded_len() + FRAME).sum()
    }
}

/// Routes of one resource, one after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    policies: Table<v1::TrafficPolicy>,
    matches: Table<v1::RouteMatch>,
    rules: Table<v1::RouteRule>,
    seen: Seen,
}

/// Positions by address: routes of one rule share what they have in common, and encoding it for each of them to find it
/// in a table would be most of the work.
#[derive(Debug, Default)]
struct Seen {
    policies: HashMap<*const TrafficPolicy, u32>,
    matches: HashMap<*const RouteMatch, u32>,
    rules: HashMap<RuleAddress, u32>,
}

/// Of all that a rule consists of: what is at the same address is the same.
type RuleAddress = (
    *const str,
    *const [Backend],
    *const TrafficPolicy,
    Option<*const Filters>,
    *const Policies,
);

impl Encoder {
    /// `policies`: of its backends, in a gateway.
    pub(super) fn route(&mut self, route: &Route, policies: &Policies) -> v1::Route {
        let matches = &mut self.matches;
        let found = self.seen.matches.entry(Arc::as_ptr(&route.matches));
        let matches = *found.or_insert_with(|| matches.position((&*route.matches).into()));
        v1::Route {
            rule: self.rule(route, policies),
            r#match: matches,
            ports: route.ports.iter().map(|port| port.get().into()).collect(),
            hostnames: route.hostnames.iter().map(ToString::to_string).collect(),
            callers: route
                .callers
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }

    fn rule(&mut self, route: &Route, policies: &Policies) -> u32 {
        let address: RuleAddress = (
            Arc::as_ptr(&route.name),
            Arc::as_ptr(&route.backends),
            Arc::as_ptr(&route.policy),
            route.filters.as_ref().map(Arc::as_ptr),
            policies,
        );
        if let Some(position) = self.seen.rules.get(&address) {
            return *position;
        }
        let rule = v1::RouteRule {
            name: route.name.to_string(),
            backends: route.backends.iter().map(Into::into).collect(),
            policy: self.policy(&route.policy),
            filters: route.filters.as_deref().map(Into::into),
            backend_policies: policies
                .iter()
                .map(|policy| policy.as_ref().map_or(0, |policy| 1 + self.policy(policy)))
                .collect(),
        };
        let position = self.rules.position(rule);
        self.seen.rules.insert(address, position);
        position
    }

    fn policy(&mut self, policy: &Arc<TrafficPolicy>) -> u32 {
        let policies = &mut self.policies;
        let found = self.seen.policies.entry(Arc::as_ptr(policy));
        *found.or_insert_with(|| policies.position((&**policy).into()))
    }

    /// Once all routes are encoded.
    pub(super) fn tables(self) -> Option<v1::RouteTables> {
        let tables = v1::RouteTables {
            policies: self.policies.messages,
            matches: self.matches.messages,
            rules: self.rules.messages,
        };
        (tables != v1::RouteTables::default()).then_some(tables)
    }
}

/// What the routes of a resource refer to.
#[derive(Debug)]
pub(super) struct Decoder {
    matches: Vec<Arc<RouteMatch>>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    backends: Arc<[Backend]>,
    policy: Arc<TrafficPolicy>,
    filters: Option<Arc<Filters>>,
    policies: Arc<Policies>,
}

impl Decoder {
    pub(super) fn new(message: Option<v1::RouteTables>) -> Decoded<Self> {
        let v1::RouteTables {
            policies,
            matches,
            rules,
        } = message.unwrap_or_default();
        let policies = list("tables.policies", policies, |policy| {
            decode_policy(policy).map(Arc::new)
        })?;
        Ok(Self {
            matches: list("tables.matches", matches, |matches| {
                decode_match(matches).map(Arc::new)
            })?,
            rules: list("tables.rules", rules, |rule| decode_rule(rule, &policies))?,
        })
    }

    pub(super) fn route(&self, message: v1::Route) -> Decoded<Route> {
        self.gateway_route(message).map(|route| route.route)
    }

    /// With the policies of its backends; in a service there are none.
    pub(super) fn gateway_route(&self, message: v1::Route) -> Decoded<GatewayRoute> {
        let rule = at("rule", message.rule, &self.rules)?;
        let route = Route {
            name: rule.name.clone(),
            ports: ports("ports", &message.ports)?,
            hostnames: list("hostnames", message.hostnames, |name| {
                text::<Hostname>("", &name)
            })?,
            matches: at("match", message.r#match, &self.matches)?.clone(),
            backends: rule.backends.clone(),
            policy: rule.policy.clone(),
            filters: rule.filters.clone(),
            callers: optional::<Name>("callers", &message.callers)?,
        };
        Ok(GatewayRoute {
            route,
            policies: rule.policies.clone(),
        })
    }
}

fn decode_rule(message: v1::RouteRule, policies: &[Arc<TrafficPolicy>]) -> Decoded<Rule> {
    let backend_policy = |position: u32| match position.checked_sub(1) {
        None => Ok(None),
        Some(position) => at("", position, policies).cloned().map(Some),
    };
    Ok(Rule {
        name: message.name.into(),
        backends: list("backends", message.backends, decode_backend)?.into(),
        policy: at("policy", message.policy, policies)?.clone(),
        filters: decode_filters(message.filters).map_err(|e| e.under("filters"))?,
        policies: list("backend_policies", message.backend_policies, backend_policy)?.into(),
    })
}

fn at<'a, T>(field: &str, position: u32, table: &'a [T]) -> Decoded<&'a T> {
    let found = usize::try_from(position).ok();
    found
        .and_then(|position| table.get(position))
        .ok_or_else(|| DecodeError::at(field, position, "a position in the resource's table"))
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
