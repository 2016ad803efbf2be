//! Gateways: which routes attached to which of their listeners, and for which host names.

mod attach;

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use usher_config::{
    kind::{self, ObjectKey, RouteKind, TlsMode},
    model::{
        BackendTarget, Gateway, GatewayRoute, Listener, ListenerProtocol, StreamRoute,
        TrafficPolicy,
    },
    value::{Hostname, Name, ServiceName},
};

use super::{
    Finding, Reason, faults, filters,
    index::Index,
    precedence::{Ranked, rank},
    references::{Referrer, Whose, certificate},
    routes::{backends, layers_of_route, prefix, targets_of_route},
    services::path_reading,
    size::{ROUTES_BYTES_MAX, crowded_out, of_connections, of_requests},
    streams::streams,
    targets::{Target, Targets},
    traffic,
    written::{Written, written},
};
use attach::{Hostnames, Place, Route, attach, intersection};

/// What one became on a listener.
struct Connection {
    object: ObjectKey,
    accepted_at: SystemTime,
    place: Place,
    route: StreamRoute,
}

/// All gateways.
pub(super) fn gateways(
    index: &Index<'_>,
    targets: &Targets<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Gateway> {
    within(ROUTES_BYTES_MAX, (index, targets), findings)
}

/// With so many bytes of routes in each.
pub(super) fn within(
    limit: usize,
    (index, targets): (&Index<'_>, &Targets<'_>),
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Gateway> {
    let mut gateways: BTreeMap<ServiceName, Gateway> = BTreeMap::new();
    for (name, gateway) in &index.gateways {
        report_orphan(index, name, gateway.key, findings);
        let object = gateway.key;
        let referrer = Referrer { index, object };
        let listeners = gateway.object.spec.listeners.iter();
        let listeners = listeners.map(|written| listener(&referrer, written, findings));
        let gateway = Gateway {
            name: name.clone(),
            listeners: listeners.collect(),
            claim_headers: Vec::new(),
            authentication: None,
            route_authentication: Vec::new(),
            rate_limits: Vec::new(),
            route_limits: Vec::new(),
            path_reading: path_reading(index),
        };
        gateways.insert(name.clone(), gateway);
    }
    let mut requests = requests(index, targets, findings);
    let mut connections = connections(index, findings);
    for name in gateways.keys() {
        let own = requests.iter().filter(|((gateway, _), _)| gateway == name);
        let own = own.flat_map(|(_, routes)| routes);
        let own = own.map(|(ranked, policies)| (ranked, &**policies));
        let mut claims = of_requests(own);
        let own = connections.iter().filter(|one| one.place.0 == *name);
        claims.extend(of_connections(
            own.map(|one| (&one.object, one.accepted_at, &one.route)),
        ));
        let too_much = crowded_out(name, claims, limit, findings);
        connections.retain(|one| one.place.0 != *name || !too_much.contains(&one.object));
        let own = requests
            .iter_mut()
            .filter(|((gateway, _), _)| gateway == name);
        for (_, routes) in own {
            routes.retain(|(ranked, _)| !too_much.contains(&ranked.object));
        }
    }
    for (place, mut routes) in requests {
        routes.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)));
        if let Some(listener) = at(&mut gateways, &place) {
            listener.routes = routes
                .into_iter()
                .map(|(ranked, policies)| GatewayRoute {
                    route: ranked.route,
                    policies,
                })
                .collect();
        }
    }
    for Connection { place, route, .. } in connections {
        if let Some(listener) = at(&mut gateways, &place) {
            listener.streams.push(route);
        }
    }
    gateways
}

fn at<'a>(
    gateways: &'a mut BTreeMap<ServiceName, Gateway>,
    (gateway, listener): &Place,
) -> Option<&'a mut Listener> {
    gateways.get_mut(gateway)?.listeners.get_mut(*listener)
}

fn listener(
    referrer: &Referrer<'_>,
    written: &kind::Listener,
    findings: &mut Vec<Finding>,
) -> Listener {
    let certificates = written.tls.iter().flat_map(|tls| &tls.certificate_refs);
    Listener {
        name: written.name.clone(),
        port: written.port,
        hostname: written.hostname.clone(),
        protocol: match (written.protocol, written.tls_mode()) {
            (kind::ListenerProtocol::Http, _) => ListenerProtocol::Http,
            (kind::ListenerProtocol::Https, _) => ListenerProtocol::Https,
            (kind::ListenerProtocol::Tls, Some(TlsMode::Terminate)) => {
                ListenerProtocol::TlsTerminate
            }
            (kind::ListenerProtocol::Tls, _) => ListenerProtocol::TlsPassthrough,
            (kind::ListenerProtocol::Tcp, _) => ListenerProtocol::Tcp,
        },
        certificates: certificates
            .filter_map(|one| certificate(referrer, one, findings))
            .collect(),
        routes: Vec::new(),
        streams: Vec::new(),
    }
}

fn report_orphan(
    index: &Index<'_>,
    name: &ServiceName,
    key: &ObjectKey,
    findings: &mut Vec<Finding>,
) {
    let runs = |workload: &&kind::Workload| workload.full_name() == *name;
    if index.workloads.iter().any(runs) || index.services.contains_key(name) {
        return;
    }
    findings.push(Finding {
        object: key.clone(),
        reason: Reason::RefNotResolved,
        message: format!("there is no Workload {name}: nobody may run this gateway"),
    });
}

/// By listener: the routes for requests, each with the policies of its backends.
fn requests(
    index: &Index<'_>,
    targets: &Targets<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Place, Vec<(Ranked, Policies)>> {
    let mut all = written(index, findings);
    all.sort_by_key(|written| (written.accepted_at, written.key));
    let mut attached: BTreeMap<Place, Vec<(RouteKind, &ObjectKey, Hostnames)>> = BTreeMap::new();
    let mut compiled: BTreeMap<Place, Vec<(Ranked, Policies)>> = BTreeMap::new();
    for written in &all {
        let route = Route {
            key: written.key,
            kind: match written.key.kind {
                kind::Kind::GrpcRoute => RouteKind::Grpc,
                _ => RouteKind::Http,
            },
            parents: written.parents,
            hostnames: written.hostnames,
        };
        for (place, hostnames) in attach(index, &route, findings) {
            let before = attached.entry(place.clone()).or_default();
            if let Some(conflict) = conflict(&route, &hostnames, before) {
                findings.push(conflict);
                continue;
            }
            let routes = compile((index, targets), written, (&place, &hostnames), findings);
            before.push((route.kind, written.key, hostnames));
            compiled.entry(place).or_default().extend(routes);
        }
    }
    compiled
}

/// A host name of a listener belongs to HTTPRoutes or to GRPCRoutes, to whichever came first (Gateway API, GRPCRoute).
fn conflict(
    route: &Route<'_>,
    hostnames: &Hostnames,
    before: &[(RouteKind, &ObjectKey, Hostnames)],
) -> Option<Finding> {
    let meet = |one: &Option<Hostname>, other: &Option<Hostname>| match (one, other) {
        (Some(one), Some(other)) => intersection(one, other).is_some(),
        (None, _) | (_, None) => true,
    };
    let (_, earlier, _) = before.iter().find(|(kind, _, theirs)| {
        let any_meets = |own| theirs.iter().any(|other| meet(own, other));
        *kind != route.kind && hostnames.iter().any(any_meets)
    })?;
    Some(Finding {
        object: route.key.clone(),
        reason: Reason::Conflicted,
        message: format!(
            "{earlier}, which is older and of another kind, has a host name of it on the same listener"
        ),
    })
}

/// As `GatewayRoute::policies`.
type Policies = Arc<[Option<Arc<TrafficPolicy>>]>;

/// One route for each host name and match: a request's precedence depends on the one host name that it matches.
fn compile(
    (index, targets): (&Index<'_>, &Targets<'_>),
    written: &Written<'_>,
    ((gateway, _), hostnames): (&Place, &Hostnames),
    findings: &mut Vec<Finding>,
) -> Vec<(Ranked, Policies)> {
    let mut routes = Vec::new();
    let object = written.key;
    let referrer = Referrer { index, object };
    for (number, rule) in written.rules.iter().enumerate() {
        let above = layers_of_route(targets, written.key, rule);
        let rule_only = Treated {
            index,
            targets,
            above,
            own: targets_of_route(written.key, rule),
        };
        let policy = rule_only.without_backend(&written.key.namespace);
        let backends = backends(&referrer, rule, Whose::Gateway(gateway), findings);
        let filters = filters::compile(&referrer, &rule.filters, prefix(rule), findings);
        let policies: Policies = backends
            .iter()
            .map(|backend| match &backend.target {
                BackendTarget::Service(target) => rule_only.on_top_of(&target.service),
                BackendTarget::Invalid(_) => None,
            })
            .collect();
        let name = written.label(number);
        for (hostname, (place, matches)) in hostnames
            .iter()
            .flat_map(|hostname| rule.matches.iter().enumerate().map(move |m| (hostname, m)))
        {
            let route = usher_config::model::Route {
                name: name.clone(),
                callers: None,
                ports: Vec::new(),
                hostnames: hostname.iter().cloned().collect(),
                matches: matches.wanted.clone(),
                filters: filters.clone(),
                backends: backends.clone(),
                policy: policy.clone(),
            };
            let ranked = Ranked {
                route,
                call: matches.call,
                accepted_at: written.accepted_at,
                object: written.key.clone(),
                place: (number, place),
            };
            routes.push((ranked, policies.clone()));
        }
    }
    routes
}

/// What a rule says about treatment, by itself and by policies that target it.
struct Treated<'a, 'i> {
    index: &'a Index<'i>,
    targets: &'a Targets<'i>,
    above: Vec<traffic::Layer<'a>>,
    own: Vec<Target>,
}

impl Treated<'_, '_> {
    /// For requests that reach no service.
    fn without_backend(&self, namespace: &Name) -> Arc<TrafficPolicy> {
        let wide = [Target::Mesh, Target::Namespace(namespace.clone())];
        let wide = wide
            .iter()
            .filter_map(|target| self.targets.traffic(target));
        let mut layers: Vec<_> = wide.map(traffic::Layer::from).collect();
        layers.extend(self.above.iter().cloned());
        traffic::resolve(self.index, &layers, faults::fault(self.targets, &self.own))
    }

    /// For those that go to `service`; `None`: the rule says nothing.
    fn on_top_of(&self, service: &ServiceName) -> Option<Arc<TrafficPolicy>> {
        let silent = self.above.is_empty() && faults::fault(self.targets, &self.own).is_none();
        if silent {
            return None;
        }
        let mut layers = traffic::layers_of_service(self.targets, service);
        layers.extend(self.above.iter().cloned());
        let mut all = vec![Target::Service(service.clone())];
        all.extend(self.own.iter().cloned());
        let fault = faults::fault(self.targets, &all);
        Some(traffic::resolve(self.index, &layers, fault))
    }
}

/// Routes for connections with the listeners that they attached to, the oldest first.
fn connections(index: &Index<'_>, findings: &mut Vec<Finding>) -> Vec<Connection> {
    let mut connections = Vec::new();
    for stream in streams(index) {
        let route = Route {
            key: stream.key,
            kind: stream.kind,
            parents: stream.parents,
            hostnames: stream.hostnames,
        };
        for (place, hostnames) in attach(index, &route, findings) {
            let whose = Whose::Gateway(&place.0);
            for route in stream.compile(index, &hostnames, whose, findings) {
                connections.push(Connection {
                    object: stream.key.clone(),
                    accepted_at: stream.accepted_at,
                    place: place.clone(),
                    route,
                });
            }
        }
    }
    connections
}
