//! HTTPRoutes and GRPCRoutes → each parent service's routes, in the order in which they are tried.
//!
//! Order is Gateway API's: exact path, then (where the specification leaves a choice) expressions, then the
//! longest prefix, then method, number of headers, number of query parameters, then the older object, its
//! name, and its place in it. Expressions go before prefixes, as in Envoy Gateway: behind them, a catch-all
//! `/` would make every expression unreachable.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, sync::Arc, time::SystemTime};

use usher_config::{
    kind::{self, BackendRef, HttpRouteRule, ObjectKey, ParentRef, TrafficPolicySpec},
    model::{Backend, BackendTarget, PathMatch, Route, RouteMatch},
    value::{Hostname, Name, Port, ServiceName},
};

use super::{
    Finding, Reason,
    index::Index,
    matches,
    targets::{Target, Targets},
    traffic::{self, Layer},
};

/// A rule of either kind.
struct Rule<'a> {
    name: Option<&'a Name>,
    matches: Vec<RouteMatch>,
    backends: &'a [BackendRef],
    /// What the rule itself says about time and repetition.
    own: Option<TrafficPolicySpec>,
}

/// A route of either kind.
struct Written<'a> {
    key: &'a ObjectKey,
    accepted_at: SystemTime,
    parents: &'a [ParentRef],
    hostnames: &'a [Hostname],
    rules: Vec<Rule<'a>>,
}

/// A compiled route and what it is sorted by.
struct Ranked {
    route: Route,
    accepted_at: SystemTime,
    object: ObjectKey,
    /// Rule, then match.
    place: (usize, usize),
}

/// All routes, by the service whose requests they take.
pub(super) fn by_parent(
    index: &Index<'_>,
    targets: &Targets<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Vec<Route>> {
    for policy in &index.traffic {
        if let Some(message) = traffic::unresolved(index, policy.object) {
            let message = format!("without a fallback: {message}");
            findings.push(Finding {
                object: policy.key.clone(),
                reason: Reason::RefNotResolved,
                message,
            });
        }
    }
    let mut ranked: BTreeMap<ServiceName, Vec<Ranked>> = BTreeMap::new();
    for written in written(index, findings) {
        for (parent, ports) in parents(index, &written, findings) {
            let routes = compile(index, targets, &written, (&parent, &ports), findings);
            ranked.entry(parent).or_default().extend(routes);
        }
        report_backends(index, &written, findings);
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

fn written<'a>(index: &Index<'a>, findings: &mut Vec<Finding>) -> Vec<Written<'a>> {
    let mut all = Vec::new();
    for aged in &index.http_routes {
        let spec = &aged.object.spec;
        let rule = |rule: &'a HttpRouteRule| Rule {
            name: rule.name.as_ref(),
            matches: rule.matches.iter().map(matches::http).collect(),
            backends: &rule.backend_refs,
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
            let (name, backends) = (rule.name.as_ref(), rule.backend_refs.as_slice());
            let found = Rule {
                name,
                matches: compiled,
                backends,
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
    for reference in written.parents {
        let name = reference.service(&written.key.namespace);
        match parent_ports(index, reference, &name, &written.key.namespace) {
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
    namespace: &Name,
) -> Result<Vec<Port>, (Reason, String)> {
    let Some(service) = index.services.get(name) else {
        return Err((
            Reason::TargetNotFound,
            format!("its parent, Service {name}, does not exist"),
        ));
    };
    if name.namespace != *namespace {
        let message = format!(
            "Service {name} is in another namespace: a route for some callers only is not supported"
        );
        return Err((Reason::RefNotResolved, message));
    }
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
    for (number, rule) in written.rules.iter().enumerate() {
        let layers = layers(targets, written, rule, parent);
        let policy = traffic::resolve(index, &layers);
        findings.extend(traffic::late_fallback(&layers, &policy));
        let label = rule
            .name
            .map_or_else(|| number.to_string(), Name::to_string);
        let ObjectKey {
            kind,
            namespace,
            name,
        } = written.key;
        let name: Arc<str> = format!("{kind}/{namespace}/{name}/{label}").into();
        let backends: Vec<Backend> = rule
            .backends
            .iter()
            .map(|backend| resolve(index, backend, namespace))
            .collect();
        for (place, matches) in rule.matches.iter().enumerate() {
            routes.push(Ranked {
                route: Route {
                    name: name.clone(),
                    ports: ports.to_vec(),
                    hostnames: written.hostnames.to_vec(),
                    matches: matches.clone(),
                    backends: backends.clone(),
                    policy: policy.clone(),
                },
                accepted_at: written.accepted_at,
                object: written.key.clone(),
                place: (number, place),
            });
        }
    }
    routes
}

/// Mesh < Namespace < Service < route < rule by name < what the rule itself says.
fn layers<'a>(
    targets: &Targets<'a>,
    written: &Written<'_>,
    rule: &'a Rule<'_>,
    parent: &ServiceName,
) -> Vec<Layer<'a>> {
    let mut layers = traffic::layers_of_service(targets, parent);
    let whole = Target::Route(written.key.clone(), None);
    layers.extend(targets.traffic(&whole).map(Layer::from));
    if let Some(name) = rule.name {
        let section = Target::Route(written.key.clone(), Some(name.clone()));
        layers.extend(targets.traffic(&section).map(Layer::from));
    }
    if let Some(own) = &rule.own {
        let ObjectKey {
            namespace, name, ..
        } = written.key.clone();
        layers.push(Layer {
            name: ServiceName { namespace, name },
            spec: Cow::Borrowed(own),
        });
    }
    layers
}

fn resolve(index: &Index<'_>, backend: &BackendRef, namespace: &Name) -> Backend {
    let target = match index.resolve(backend.service(namespace), backend.port) {
        Ok(target) => BackendTarget::Service(target),
        Err(reason) => BackendTarget::Invalid(reason),
    };
    Backend {
        weight: backend.weight,
        target,
    }
}

fn report_backends(index: &Index<'_>, written: &Written<'_>, findings: &mut Vec<Finding>) {
    for backend in written.rules.iter().flat_map(|rule| rule.backends) {
        if let BackendTarget::Invalid(reason) =
            resolve(index, backend, &written.key.namespace).target
        {
            let message = format!("its share of requests gets 500: {reason}");
            let object = written.key.clone();
            findings.push(Finding {
                object,
                reason: Reason::RefNotResolved,
                message,
            });
        }
    }
}

/// Smaller is tried first.
fn rank(ranked: &Ranked) -> impl Ord {
    let matches = &ranked.route.matches;
    let path = match &matches.path {
        PathMatch::Exact(path) => (0, Reverse(path.chars().count())),
        PathMatch::Regex(pattern) => (1, Reverse(pattern.as_str().chars().count())),
        PathMatch::Prefix(path) => (2, Reverse(path.trim_end_matches('/').chars().count())),
    };
    let object = &ranked.object;
    (
        hosts(&ranked.route.hostnames),
        path,
        matches.method.is_none(),
        Reverse(matches.headers.len()),
        Reverse(matches.query.len()),
        ranked.accepted_at,
        (object.namespace.clone(), object.name.clone(), object.kind),
        ranked.place,
    )
}

/// Whole names before wildcards, longer before shorter, any host last.
fn hosts(hostnames: &[Hostname]) -> impl Ord {
    let specificity =
        |host: &Hostname| (host.as_str().starts_with('*'), Reverse(host.as_str().len()));
    hostnames
        .iter()
        .map(specificity)
        .min()
        .unwrap_or((true, Reverse(0)))
}
