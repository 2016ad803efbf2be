//! HTTPRoutes and GRPCRoutes → each parent service's routes, in the order in which they are tried.
//!
//! A route whose parent is in another namespace is a *consumer* route: it is told to everybody, and followed by callers
//! in its own namespace only.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::SystemTime};

use usher_config::{
    kind::{
        self, BackendRef, HttpFilter, HttpRouteRule, ObjectKey, ParentKind, ParentRef,
        TrafficPolicySpec,
    },
    model::{Backend, PathMatch, Route, RouteMatch},
    value::{Hostname, Name, Port, ServiceName},
};

use super::{
    Finding, Reason, faults, filters,
    index::Index,
    matches,
    precedence::{Ranked, by_rank, rank},
    references::{Referrer, plain_backend, report_backends},
    targets::{Target, Targets},
    traffic::{self, Layer},
};

/// A rule of either kind.
pub(super) struct Rule<'a> {
    name: Option<&'a Name>,
    pub(super) matches: Vec<RouteMatch>,
    pub(super) filters: Vec<HttpFilter>,
    pub(super) backends: Vec<(&'a BackendRef, Vec<HttpFilter>)>,
    /// What the rule itself says about time and repetition.
    own: Option<TrafficPolicySpec>,
}

/// A route of either kind.
pub(super) struct Written<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) accepted_at: SystemTime,
    pub(super) parents: &'a [ParentRef],
    pub(super) hostnames: &'a [Hostname],
    pub(super) rules: Vec<Rule<'a>>,
}

impl Rule<'_> {
    /// `kind/namespace/name/rule`, the rule by name or by its number.
    pub(super) fn label(&self, key: &ObjectKey, number: usize) -> Arc<str> {
        label(key, self.name, number)
    }
}

/// See [`Rule::label`].
pub(super) fn label(key: &ObjectKey, rule: Option<&Name>, number: usize) -> Arc<str> {
    let ObjectKey {
        kind,
        namespace,
        name,
    } = key;
    let rule = rule.map_or_else(|| number.to_string(), Name::to_string);
    format!("{kind}/{namespace}/{name}/{rule}").into()
}

/// All routes, by the service whose requests they take.
pub(super) fn by_parent(
    index: &Index<'_>,
    targets: &Targets<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Vec<Route>> {
    for policy in &index.traffic {
        if let Some(broken) = traffic::unresolved(index, policy.object) {
            findings.push(broken.finding(policy.key, "without a fallback"));
        }
    }
    let mut ranked: BTreeMap<ServiceName, Vec<Ranked>> = BTreeMap::new();
    for written in written(index, findings) {
        let parents = parents(index, &written, findings);
        for (parent, ports) in &parents {
            let routes = compile(index, targets, &written, (parent, ports), findings);
            ranked.entry(parent.clone()).or_default().extend(routes);
        }
        let parents: Vec<ServiceName> = parents.into_keys().collect();
        let backends = written.rules.iter().flat_map(|rule| &rule.backends);
        let backends = backends.map(|(backend, _)| *backend);
        report_backends(index, (written.key, &parents), backends, findings);
    }
    ranked
        .into_iter()
        .map(|(parent, mut routes)| {
            routes.sort_by(|a, b| rank(a).cmp(&rank(b)));
            (
                parent,
                routes.into_iter().map(|ranked| ranked.route).collect(),
            )
        })
        .collect()
}

/// All routes of both kinds.
pub(super) fn written<'a>(index: &Index<'a>, findings: &mut Vec<Finding>) -> Vec<Written<'a>> {
    let mut all = Vec::new();
    for aged in &index.http_routes {
        let spec = &aged.object.spec;
        let rule = |rule: &'a HttpRouteRule| Rule {
            name: rule.name.as_ref(),
            matches: rule.matches.iter().map(matches::http).collect(),
            filters: rule.filters.clone(),
            backends: (rule.backend_refs.iter())
                .map(|entry| (&entry.backend, entry.filters.clone()))
                .collect(),
            own: own(rule),
        };
        all.push(Written {
            key: aged.key,
            accepted_at: aged.accepted_at,
            parents: &spec.parent_refs,
            hostnames: &spec.hostnames,
            rules: spec.rules.iter().map(rule).map(any_match).collect(),
        });
    }
    for aged in &index.grpc_routes {
        let spec = &aged.object.spec;
        let mut rules = Vec::new();
        for rule in &spec.rules {
            let mut compiled = Vec::new();
            for written in &rule.matches {
                match matches::grpc(written) {
                    Ok(found) => compiled.push(found),
                    Err(message) => findings.push(Finding {
                        object: aged.key.clone(),
                        reason: Reason::RefNotResolved,
                        message,
                    }),
                }
            }
            let found = Rule {
                name: rule.name.as_ref(),
                matches: compiled,
                filters: as_http(&rule.filters),
                backends: (rule.backend_refs.iter())
                    .map(|entry| (&entry.backend, as_http(&entry.filters)))
                    .collect(),
                own: None,
            };
            // A rule whose only match was dropped must not take everything.
            rules.push(if rule.matches.is_empty() {
                any_call(found)
            } else {
                found
            });
        }
        all.push(Written {
            key: aged.key,
            accepted_at: aged.accepted_at,
            parents: &spec.parent_refs,
            hostnames: &spec.hostnames,
            rules,
        });
    }
    all
}

fn as_http(filters: &[kind::GrpcFilter]) -> Vec<HttpFilter> {
    filters.iter().cloned().map(HttpFilter::from).collect()
}

fn any_match(mut rule: Rule<'_>) -> Rule<'_> {
    if rule.matches.is_empty() {
        rule.matches.push(RouteMatch::default());
    }
    rule
}

fn any_call(mut rule: Rule<'_>) -> Rule<'_> {
    rule.matches.push(RouteMatch {
        method: Some(http::Method::POST),
        ..RouteMatch::default()
    });
    rule
}

/// A rule's own timeouts and retries as the narrowest policy.
fn own(rule: &HttpRouteRule) -> Option<TrafficPolicySpec> {
    let (timeouts, retry) = (&rule.timeouts, &rule.retry);
    let silent = *timeouts == kind::HttpRouteTimeouts::default()
        && *retry == kind::HttpRouteRetry::default();
    (!silent).then(|| TrafficPolicySpec {
        timeouts: kind::Timeouts {
            request: timeouts.request,
            backend_request: timeouts.backend_request,
            ..kind::Timeouts::default()
        },
        retry: kind::Retry {
            attempts: retry.attempts,
            codes: retry.codes.clone(),
            backoff: kind::Backoff {
                base: retry.backoff,
                max: None,
            },
            ..kind::Retry::default()
        },
        ..TrafficPolicySpec::default()
    })
}

/// The services whose requests a route takes, and at which of their ports (empty: all).
fn parents(
    index: &Index<'_>,
    written: &Written<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Vec<Port>> {
    let mut parents: BTreeMap<ServiceName, Vec<Port>> = BTreeMap::new();
    let mut whole = Vec::new();
    let services = |parent: &&ParentRef| parent.kind == ParentKind::Service;
    for reference in written.parents.iter().filter(services) {
        let name = reference.parent(&written.key.namespace);
        match parent_ports(index, reference, &name) {
            Err((reason, message)) => {
                findings.push(Finding {
                    object: written.key.clone(),
                    reason,
                    message,
                });
            }
            Ok(ports) => {
                if ports.is_empty() {
                    whole.push(name.clone());
                }
                parents.entry(name).or_default().extend(ports);
            }
        }
    }
    for name in whole {
        parents.insert(name, Vec::new());
    }
    parents
}

fn parent_ports(
    index: &Index<'_>,
    reference: &ParentRef,
    name: &ServiceName,
) -> Result<Vec<Port>, (Reason, String)> {
    let Some(service) = index.services.get(name) else {
        return Err((
            Reason::TargetNotFound,
            format!("its parent, Service {name}, does not exist"),
        ));
    };
    let wanted = |port: &&kind::ServicePort| {
        reference.port.is_none_or(|number| port.port == number)
            && reference
                .section_name
                .as_ref()
                .is_none_or(|name| port.name.as_ref() == Some(name))
    };
    let ports: Vec<Port> = service
        .spec
        .ports
        .iter()
        .filter(wanted)
        .map(|port| port.port)
        .collect();
    match (
        ports.is_empty(),
        reference.port.is_none() && reference.section_name.is_none(),
    ) {
        (true, _) => Err((
            Reason::TargetNotFound,
            format!("Service {name} has no such port"),
        )),
        (false, true) => Ok(Vec::new()),
        (false, false) => Ok(ports),
    }
}

fn compile(
    index: &Index<'_>,
    targets: &Targets<'_>,
    written: &Written<'_>,
    (parent, ports): (&ServiceName, &[Port]),
    findings: &mut Vec<Finding>,
) -> Vec<Ranked> {
    let mut routes = Vec::new();
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
        let namespace = &written.key.namespace;
        let route = Route {
            name: rule.label(written.key, number),
            callers: (parent.namespace != *namespace).then(|| namespace.clone()),
            ports: ports.to_vec(),
            hostnames: Vec::new(),
            matches: RouteMatch::default(),
            filters: filters::compile(&referrer, &rule.filters, prefix(rule), findings),
            backends: backends(&referrer, rule, std::slice::from_ref(parent), findings),
            policy,
        };
        for (place, matches) in rule.matches.iter().enumerate() {
            for hostnames in by_rank(written.hostnames) {
                let matches = matches.clone();
                routes.push(Ranked {
                    route: Route {
                        hostnames,
                        matches,
                        ..route.clone()
                    },
                    accepted_at: written.accepted_at,
                    object: written.key.clone(),
                    place: (number, place),
                });
            }
        }
    }
    routes
}

/// What a `ReplacePrefixMatch` replaces: only rules with one match of a prefix have any.
pub(super) fn prefix<'a>(rule: &'a Rule<'_>) -> &'a str {
    match rule.matches.first().map(|matches| &matches.path) {
        Some(PathMatch::Prefix(prefix)) => prefix,
        Some(PathMatch::Exact(_) | PathMatch::Regex(_)) | None => "/",
    }
}

/// A rule's, for requests to one of `parents`.
pub(super) fn backends(
    referrer: &Referrer<'_>,
    rule: &Rule<'_>,
    parents: &[ServiceName],
    findings: &mut Vec<Finding>,
) -> Vec<Backend> {
    let mut backends = Vec::new();
    for (backend, own) in &rule.backends {
        backends.push(Backend {
            filters: filters::compile(referrer, own, prefix(rule), findings),
            ..plain_backend(referrer, backend, parents)
        });
    }
    backends
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
        let ObjectKey {
            namespace, name, ..
        } = key.clone();
        layers.push(Layer {
            name: ServiceName { namespace, name },
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
