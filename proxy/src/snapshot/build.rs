//! Model → entry: compiles routes and groups, finds or makes the state that outlives snapshots.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use usher_config::{
    model::{BackendTls, Endpoint, Route, Service, ServicePort, TrafficPolicy},
    value::{InstanceName, Port, ServiceName},
};

use crate::{
    balance::{EndpointState, Group, Member, Rules, affinity, zones},
    clock,
    route::{Streams, Table, followed},
    telemetry::metrics::{Direction, Outcomes},
    tls::origin::Origin,
};

use super::{
    EndpointEntry, PortEntry, Running, ServiceEntry, ServiceMetrics, Treatment, apply::Fixed,
    treat::Treat,
};

pub(super) type Endpoints = BTreeMap<InstanceName, Arc<Endpoint>>;

/// Numbers of endpoints; 0 is our own application.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

pub(super) struct Builder<'a> {
    pub fixed: &'a Fixed,
    /// Our own.
    pub zone: &'a str,
    pub before: Option<&'a ServiceEntry>,
}

impl Builder<'_> {
    pub(super) fn service(&self, model: Arc<Service>, endpoints: Endpoints) -> ServiceEntry {
        let label: Arc<str> = model.name.to_string().into();
        let running = self
            .before
            .map_or_else(Arc::default, |before| before.running.clone());
        let endpoints = self.endpoints(&model, endpoints, &running);
        let treatment = Arc::new(self.treatment(&label, "".into(), &model.policy, None));
        // A rule with several matches is several routes of one name: they have one breaker and one budget.
        let mut by_rule: HashMap<Arc<str>, Arc<Treatment>> = HashMap::new();
        let (routes, streams) = followed(&model, &self.fixed.own.namespace);
        let route_treatments = routes
            .iter()
            .map(|route| {
                let name = route.name.clone();
                let treat = || {
                    let general = Some(&treatment);
                    let mut treatment = self.treatment(&label, name, &route.policy, general);
                    treatment.mirrors = mirrors(self.fixed, &label, route);
                    Arc::new(treatment)
                };
                by_rule
                    .entry(route.name.clone())
                    .or_insert_with(treat)
                    .clone()
            })
            .collect();
        let metrics = &self.fixed.metrics;
        ServiceEntry {
            table: Table::new(routes),
            streams: Streams::new(&streams, model.ports.iter().map(|port| port.port)),
            treatment,
            route_treatments,
            identities: model.identities.clone().into(),
            ports: model
                .ports
                .iter()
                .map(|port| self.port(&model, port, &endpoints))
                .collect(),
            endpoints,
            running,
            metrics: ServiceMetrics {
                duration: metrics.request_duration(Direction::Outbound, &label),
                attempts: metrics.attempts(&label),
                retries: metrics.retries(&label),
                fallbacks: metrics.fallbacks(&label),
                ejections: metrics.ejections(&label),
                ejected: metrics.ejected_endpoints(&label),
                tcp_bytes: metrics.tcp_bytes(Direction::Outbound, &label),
            },
            model,
            label,
        }
    }

    fn endpoints(
        &self,
        model: &Service,
        endpoints: Endpoints,
        running: &Arc<Running>,
    ) -> Vec<EndpointEntry> {
        let roster = &running.roster;
        // Who fails its own health check is no reserve: counting it would let all the others be ejected.
        let is_ready = |endpoint: &Endpoint| endpoint.healthy && endpoint.weight.get() > 0;
        let ready = endpoints.values().filter(|endpoint| is_ready(endpoint));
        let ready = ready.count();
        roster.resize(u32::try_from(ready).unwrap_or(u32::MAX));
        let same_peers = self.before.is_some_and(|before| {
            before.model.identities == model.identities && tls(&before.model).eq(tls(model))
        });
        let now = clock::now();
        // Where nobody was before there is nobody else to carry the load meanwhile.
        let alone = self.before.is_none_or(|before| before.endpoints.is_empty());
        let known = |endpoint: &Endpoint| {
            // In the order of their names: with a scan, ten thousand endpoints would cost 10⁸ comparisons.
            let all = &self.before?.endpoints;
            let position = all.binary_search_by(|entry| entry.model.name.cmp(&endpoint.name));
            let before = all.get(position.ok()?)?;
            let same =
                before.model.address == endpoint.address && before.model.meshed == endpoint.meshed;
            same.then_some(before)
        };
        endpoints
            .into_values()
            .map(|model| {
                let before = known(&model);
                let state = before.map_or_else(
                    || Arc::new(EndpointState::new(roster.clone(), now)),
                    |before| before.state.clone(),
                );
                if !is_ready(&model) {
                    state.retire(now);
                }
                let load = before.map_or_else(Arc::default, |before| before.load.clone());
                let joins = !alone && before.is_none_or(|before| !before.model.healthy);
                if joins && model.healthy {
                    state.begin(now);
                }
                let number = before.filter(|_| same_peers).map_or_else(
                    || NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
                    |before| before.number,
                );
                EndpointEntry {
                    model,
                    state,
                    load,
                    number,
                }
            })
            .collect()
    }

    fn port(&self, model: &Service, port: &ServicePort, endpoints: &[EndpointEntry]) -> PortEntry {
        let serves =
            |endpoint: &Endpoint| endpoint.ports.is_empty() || endpoint.ports.contains(&port.port);
        let policy = &model.policy;
        let zones = policy.load_balancer.zones.as_ref();
        let members = endpoints
            .iter()
            .map(|entry| Member {
                state: entry.state.clone(),
                weight: if serves(&entry.model) {
                    entry.model.weight.get()
                } else {
                    0
                },
                healthy: entry.model.healthy,
                rank: zones::rank(zones, self.zone, &entry.model.zone),
                key: affinity::hash(entry.model.name.to_string().as_bytes()),
            })
            .collect();
        let rules = Rules {
            balancer: &policy.load_balancer,
            per_endpoint: policy.limits.per_endpoint.max_concurrent_requests,
            ejects: policy.ejection.is_some(),
        };
        let group = Group::new(members, rules);
        let sni = format!("{}.{}.{}", port.port, model.name.name, model.name.namespace);
        PortEntry {
            port: port.port,
            group,
            sni: sni.into(),
            tls: port.tls.as_ref().map(|tls| self.origin(port.port, tls)),
        }
    }

    /// What was made of the same before has sessions that can be resumed.
    fn origin(&self, port: Port, tls: &Arc<BackendTls>) -> Arc<Result<Origin, Box<str>>> {
        let before = self.before.and_then(|before| {
            let said = before.model.port(port.get())?.tls.as_ref();
            let made = before.port(port)?.tls.as_ref();
            made.filter(|_| said == Some(tls))
        });
        before.map_or_else(|| Arc::new(Origin::new(tls)), Arc::clone)
    }

    /// `general`: the service's own treatment, if this is a route's.
    fn treatment(
        &self,
        label: &Arc<str>,
        route: Arc<str>,
        policy: &Arc<TrafficPolicy>,
        general: Option<&Arc<Treatment>>,
    ) -> Treatment {
        let before = self.before_of(&route);
        let treat = Treat {
            fixed: self.fixed,
            label,
            before,
            general,
        };
        treat.treatment(route, policy)
    }

    fn before_of(&self, route: &str) -> Option<&Arc<Treatment>> {
        let before = self.before?;
        if route.is_empty() {
            return Some(&before.treatment);
        }
        before
            .route_treatments
            .iter()
            .find(|treatment| &*treatment.route == route)
    }
}

/// What each port's endpoints are asked for.
fn tls(service: &Service) -> impl Iterator<Item = (Port, &BackendTls)> {
    let ports = service.ports.iter();
    ports.filter_map(|port| Some((port.port, port.tls.as_deref()?)))
}

/// Handles for copies, by mirror.
pub(super) fn mirrors(fixed: &Fixed, label: &str, route: &Route) -> Vec<(ServiceName, Outcomes)> {
    let backends = route.backends.iter().map(|backend| &backend.filters);
    let filters = [&route.filters].into_iter().chain(backends).flatten();
    let mut mirrors: Vec<(ServiceName, Outcomes)> = Vec::new();
    for mirror in filters.flat_map(|filters| &filters.mirrors) {
        let name = &mirror.target.service;
        if mirrors.iter().all(|(known, _)| known != name) {
            let metrics = &fixed.metrics;
            let outcomes = metrics.mirrored(label, &route.name, &name.to_string());
            mirrors.push((name.clone(), outcomes));
        }
    }
    mirrors
}
