//! HTTPRoutes and GRPCRoutes → each parent service's routes, in the order in which they are tried; with those for its
//! connections.
//!
//! A route whose parent is in another namespace is a *consumer* route: it is told to everybody, and followed by callers
//! in its own namespace only.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::{
    kind::ObjectKey,
    model::{Backend, PathMatch, Route, StreamRoute},
    value::{Port, ServiceName},
};

use super::{
    Finding, faults, filters,
    index::Index,
    parents::{Child, followers, parents},
    precedence::{Ranked, rank},
    references::{Referrer, Whose, http_backend},
    size::{ROUTES_BYTES_MAX, crowded_out, of_connections, of_requests},
    streams::{self, Followed, streams},
    targets::{Target, Targets},
    traffic::{self, Layer},
    written::{Rule, Written, written},
};

/// What is attached to a service.
#[derive(Debug, Default)]
pub(super) struct Attached {
    pub(super) routes: Vec<Route>,
    pub(super) streams: Vec<StreamRoute>,
}

/// All routes, by the service whose requests or connections they take.
pub(super) fn by_parent(
    index: &Index<'_>,
    targets: &Targets<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Attached> {
    for policy in &index.traffic {
        if let Some(broken) = traffic::unresolved(index, policy.object) {
            findings.push(broken.finding(policy.key, "without a fallback"));
        }
    }
    let all = written(index, findings);
    let streams = streams(index);
    let of_requests = all.iter().map(|written| Child {
        key: written.key,
        parents: written.parents,
    });
    let of_connections = streams.iter().map(|stream| Child {
        key: stream.key,
        parents: stream.parents,
    });
    let children: Vec<Child<'_>> = of_requests.chain(of_connections).collect();
    let parents = parents(index, &children, findings);
    let (of_requests, of_connections) = parents.split_at(all.len());
    let mut ranked: BTreeMap<ServiceName, Vec<Ranked>> = BTreeMap::new();
    for (written, parents) in all.iter().zip(of_requests) {
        for (parent, ports) in parents {
            let routes = compile((index, targets), written, (parent, ports), findings);
            ranked.entry(parent.clone()).or_default().extend(routes);
        }
    }
    let mut followed = streams::by_parent(index, (&streams, of_connections), findings);
    let names: BTreeSet<_> = ranked.keys().chain(followed.keys()).cloned().collect();
    let attached = names.into_iter().map(|parent| {
        let routes = ranked.remove(&parent).unwrap_or_default();
        let streams = followed.remove(&parent).unwrap_or_default();
        let attached = fitting(&parent, routes, streams, findings);
        (parent, attached)
    });
    attached.collect()
}

/// What of it fits, in order.
fn fitting(
    parent: &ServiceName,
    mut routes: Vec<Ranked>,
    mut streams: Vec<Followed>,
    findings: &mut Vec<Finding>,
) -> Attached {
    let all = routes.iter().map(|ranked| (ranked, [].as_slice()));
    let mut claims = of_requests(all);
    let all = streams.iter();
    claims.extend(of_connections(
        all.map(|one| (&one.object, one.accepted_at, &one.route)),
    ));
    let too_much = crowded_out(parent, claims, ROUTES_BYTES_MAX, findings);
    routes.retain(|ranked| !too_much.contains(&ranked.object));
    routes.sort_by(|a, b| rank(a).cmp(&rank(b)));
    streams.retain(|one| !too_much.contains(&one.object));
    Attached {
        routes: routes.into_iter().map(|ranked| ranked.route).collect(),
        streams: streams.into_iter().map(|one| one.route).collect(),
    }
}

/// Host names of the route do not count here: who calls a service has named it (GEP-1426, "hostnames field").
fn compile(
    (index, targets): (&Index<'_>, &Targets<'_>),
    written: &Written<'_>,
    (parent, ports): (&ServiceName, &BTreeSet<Port>),
    findings: &mut Vec<Finding>,
) -> Vec<Ranked> {
    let mut routes = Vec::new();
    let service = index.services.get(parent);
    let all_ports = service.is_some_and(|service| service.spec.ports.len() == ports.len());
    let referrer = Referrer {
        index,
        object: written.key,
    };
    for (number, rule) in written.rules.iter().enumerate() {
        let own = targets_of_route(written.key, rule);
        let mut layers = traffic::layers_of_service(targets, parent);
        layers.extend(layers_of_route(targets, written.key, rule));
        let mut all = vec![Target::Service(parent.clone())];
        all.extend(own);
        let policy = traffic::resolve(index, &layers, faults::fault(targets, &all));
        findings.extend(traffic::late_fallback(&layers, &policy));
        let route = Route {
            name: written.label(number),
            callers: followers(written.key, parent).cloned(),
            ports: ports.iter().copied().filter(|_| !all_ports).collect(),
            hostnames: Vec::new(),
            matches: Arc::default(),
            filters: filters::compile(&referrer, &rule.filters, prefix(rule), findings),
            backends: backends(&referrer, rule, Whose::CallersOf(parent), findings),
            policy,
        };
        for (place, matches) in rule.matches.iter().enumerate() {
            routes.push(Ranked {
                route: Route {
                    matches: matches.wanted.clone(),
                    ..route.clone()
                },
                call: matches.call,
                accepted_at: written.accepted_at,
                object: written.key.clone(),
                place: (number, place),
            });
        }
    }
    routes
}

/// What a `ReplacePrefixMatch` replaces: only rules with one match of a prefix have any.
pub(super) fn prefix<'a>(rule: &'a Rule<'_>) -> &'a str {
    match rule.matches.first().map(|matches| &matches.wanted.path) {
        Some(PathMatch::Prefix(prefix)) => prefix,
        Some(PathMatch::Exact(_) | PathMatch::Regex(_)) | None => "/",
    }
}

/// A rule's, for the requests of `whose`. One that leads nowhere is reported.
pub(super) fn backends(
    referrer: &Referrer<'_>,
    rule: &Rule<'_>,
    whose: Whose<'_>,
    findings: &mut Vec<Finding>,
) -> Arc<[Backend]> {
    let mut backends = Vec::new();
    for (backend, own) in &rule.backends {
        backends.push(Backend {
            filters: filters::compile(referrer, own, prefix(rule), findings),
            ..http_backend(referrer, backend, whose, findings)
        });
    }
    backends.into()
}

/// Above Mesh < Namespace < Service: route < rule by name < what the rule itself says.
pub(super) fn layers_of_route<'a>(
    targets: &Targets<'a>,
    key: &ObjectKey,
    rule: &'a Rule<'_>,
) -> Vec<Layer<'a>> {
    let mut layers = Vec::new();
    for target in targets_of_route(key, rule) {
        layers.extend(targets.traffic(&target).map(Layer::from));
    }
    if let Some(own) = &rule.own {
        layers.push(Layer {
            object: key.clone(),
            spec: Cow::Borrowed(own),
        });
    }
    layers
}

/// Route, rule by name.
pub(super) fn targets_of_route(key: &ObjectKey, rule: &Rule<'_>) -> Vec<Target> {
    let section = rule.name.cloned();
    let section = section.map(|name| Target::Route(key.clone(), Some(name)));
    [Target::Route(key.clone(), None)]
        .into_iter()
        .chain(section)
        .collect()
}
