//! A gateway as the request path sees it: by port the listeners, by host name their routes.

use std::{collections::HashMap, sync::Arc};

use http::HeaderName;
use usher_config::{
    model::{
        BackendTarget, Gateway, GatewayRoute, Listener, ListenerProtocol, Route, StreamRoute,
        TrafficPolicy,
    },
    value::{CertificateName, Hostname, Name, Port, ServiceName},
};

use crate::{
    route::{self, ByHost, Hosts},
    telemetry::metrics::{Direction, Requests},
};

use super::{
    Guards, ServiceEntry, TokensEntry, Treatment,
    apply::Fixed,
    build::mirrors,
    limits::{Kept, Limits, LimitsEntry},
    treat::Treat,
};

/// A gateway, ready to serve.
#[derive(Debug)]
pub struct GatewayEntry {
    /// What the control plane said.
    pub model: Arc<Gateway>,
    ports: HashMap<Port, Arc<GatewayPort>>,
    treatments: Treatments,
    kept: Kept,
    tokens: Tokens,
}

/// By route; `None`: of those that say nothing more. Kept for the next snapshot.
type Tokens = HashMap<Option<Arc<str>>, Arc<TokensEntry>>;

/// By route, and by the service that it leads to: kept for the next snapshot.
type Treatments = HashMap<(Arc<str>, Option<ServiceName>), Arc<Treatment>>;

/// The listeners of one port.
#[derive(Debug)]
pub struct GatewayPort {
    /// Whether connections begin with a TLS handshake.
    pub tls: bool,
    /// Whether they are opaque from their first byte.
    pub opaque: bool,
    /// By the host that a request or a handshake names.
    pub listeners: Hosts<Arc<ListenerEntry>>,
}

/// A listener and what attached to it.
#[derive(Debug)]
pub struct ListenerEntry {
    /// Unique in the gateway.
    pub name: Name,
    /// Of the gateway.
    pub port: Port,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Which hosts are served; `None`: all.
    pub hostname: Option<Hostname>,
    /// To show where TLS ends here, the first that fits.
    pub certificates: Vec<CertificateName>,
    /// Taken from every request.
    pub claim_headers: Arc<[HeaderName]>,
    /// Where connections go.
    pub streams: Hosts<StreamRoute>,
    hosts: ByHost,
    /// In the order of the model's routes.
    routes: Vec<RouteEntry>,
}

/// How a route's requests are treated.
#[derive(Debug)]
pub struct RouteEntry {
    /// Without a backend that exists.
    pub treatment: Arc<Treatment>,
    /// For each backend; `None`: as the service says itself.
    pub backends: Vec<Option<Arc<Treatment>>>,
    /// For each backend: its requests by this route, whoever says how they are treated.
    pub requests: Vec<Requests>,
    /// Who is let in, and how often.
    pub guards: Guards,
}

impl GatewayEntry {
    /// What listens on this port.
    pub fn port(&self, port: Port) -> Option<&Arc<GatewayPort>> {
        self.ports.get(&port)
    }

    /// How its routes' requests are treated, each once; by the service that they lead to.
    pub fn treatments(&self) -> impl Iterator<Item = (Option<&ServiceName>, &Arc<Treatment>)> {
        self.treatments
            .iter()
            .map(|((_, service), treatment)| (service.as_ref(), treatment))
    }

    /// The ports that should be listened on.
    pub fn ports(&self) -> impl Iterator<Item = Port> {
        self.ports.keys().copied()
    }
}

impl ListenerEntry {
    /// Whether this host is one of the listener's; which of several listeners has it is another question.
    pub fn covers(&self, host: &str) -> bool {
        let hostname = self.hostname.as_ref();
        hostname.is_none_or(|hostname| hostname.matches(host))
    }

    /// The first route that takes the request: those of the most precise host name first.
    pub fn select(&self, request: &route::Request<'_>) -> Option<(&Route, &RouteEntry)> {
        let (position, route) = self.hosts.select(request)?;
        Some((route, self.routes.get(position)?))
    }
}

/// Makes entries; `before` is the snapshot's before, `services` are this one's.
pub(super) struct Builder<'a> {
    pub(super) fixed: &'a Fixed,
    pub(super) before: Option<&'a GatewayEntry>,
    pub(super) services: &'a HashMap<ServiceName, Arc<ServiceEntry>>,
    treatments: Treatments,
    limits: Limits<'a>,
    of_all: Arc<[Arc<LimitsEntry>]>,
    of_routes: HashMap<Arc<str>, Arc<[Arc<LimitsEntry>]>>,
    tokens: Tokens,
    claim_headers: Arc<[HeaderName]>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        fixed: &'a Fixed,
        before: Option<&'a GatewayEntry>,
        services: &'a HashMap<ServiceName, Arc<ServiceEntry>>,
    ) -> Self {
        Self {
            fixed,
            before,
            services,
            treatments: HashMap::new(),
            limits: Limits::new(&fixed.metrics, before.map(|before| &before.kept)),
            of_all: Arc::default(),
            of_routes: HashMap::new(),
            tokens: Tokens::new(),
            claim_headers: Arc::default(),
        }
    }

    pub(super) fn gateway(mut self, model: Arc<Gateway>) -> GatewayEntry {
        self.limit(&model);
        self.authenticate(&model);
        let mut ports: HashMap<Port, GatewayPort> = HashMap::new();
        for listener in &model.listeners {
            let port = ports.entry(listener.port).or_insert_with(|| GatewayPort {
                tls: listener.protocol.is_tls(),
                opaque: listener.protocol == ListenerProtocol::Tcp,
                listeners: Hosts::default(),
            });
            let entry = self.listener(listener);
            port.listeners
                .entry(listener.hostname.as_ref(), || Arc::new(entry));
        }
        GatewayEntry {
            ports: ports
                .into_iter()
                .map(|(port, entry)| (port, Arc::new(entry)))
                .collect(),
            treatments: self.treatments,
            kept: self.limits.kept,
            tokens: self.tokens,
            model,
        }
    }

    /// What holds for all requests, and what for single routes beside it.
    fn limit(&mut self, model: &Gateway) {
        let of_all = model.rate_limits.iter();
        self.of_all = of_all.map(|one| self.limits.entry(one)).collect();
        let mut by_route: HashMap<&Arc<str>, Vec<Arc<LimitsEntry>>> = HashMap::new();
        for (route, limits) in &model.route_limits {
            let entry = self.limits.entry(limits);
            let begun = by_route.entry(route);
            begun.or_insert_with(|| self.of_all.to_vec()).push(entry);
        }
        let by_route = by_route.into_iter();
        self.of_routes = by_route
            .map(|(route, all)| (route.clone(), all.into()))
            .collect();
    }

    fn authenticate(&mut self, model: &Gateway) {
        let of_all = model.authentication.iter().map(|one| (None, one));
        let of_routes = model.route_authentication.iter();
        let of_routes = of_routes.map(|(route, one)| (Some(route.clone()), one));
        for (route, one) in of_all.chain(of_routes) {
            let before = self.before.and_then(|before| before.tokens.get(&route));
            let entry = TokensEntry::after(before, one, &self.fixed.metrics);
            self.tokens.insert(route, entry);
        }
        self.claim_headers = model.claim_headers.clone().into();
    }

    fn guards(&self, route: &Arc<str>) -> Guards {
        let own = self.tokens.get(&Some(route.clone()));
        Guards {
            tokens: own.or_else(|| self.tokens.get(&None)).cloned(),
            limits: self.of_routes.get(route).unwrap_or(&self.of_all).clone(),
        }
    }

    fn listener(&mut self, listener: &Listener) -> ListenerEntry {
        let routes = &listener.routes;
        let entry = |GatewayRoute { route, policies }: &_| self.route(route, policies);
        let entries = routes.iter().map(entry).collect();
        let mut streams = Hosts::default();
        for stream in &listener.streams {
            // The first of a name is the oldest.
            streams.entry(stream.hostname.as_ref(), || stream.clone());
        }
        ListenerEntry {
            name: listener.name.clone(),
            port: listener.port,
            protocol: listener.protocol,
            hostname: listener.hostname.clone(),
            certificates: listener.certificates.clone(),
            claim_headers: self.claim_headers.clone(),
            streams,
            routes: entries,
            hosts: ByHost::new(routes.iter().map(|one| &one.route)),
        }
    }

    fn route(&mut self, route: &Route, policies: &[Option<Arc<TrafficPolicy>>]) -> RouteEntry {
        let backends = route.backends.iter().zip(policies);
        let backends = backends.map(|(backend, policy)| match (&backend.target, policy) {
            (BackendTarget::Service(target), Some(policy)) => {
                Some(self.treatment(route, Some(&target.service), policy))
            }
            // Copies are counted under the route, whoever has the original.
            (BackendTarget::Service(target), None) if has_mirrors(route) => self
                .services
                .get(&target.service)
                .map(|service| self.treatment(route, Some(&target.service), &service.model.policy)),
            (BackendTarget::Service(_), None) | (BackendTarget::Invalid(_), _) => None,
        });
        let backends = backends.collect();
        let treatment = self.treatment(route, None, &route.policy);
        let requests = route.backends.iter();
        let requests = requests.map(|backend| match &backend.target {
            BackendTarget::Service(target) => {
                let service = target.service.to_string();
                let metrics = &self.fixed.metrics;
                metrics.requests(Direction::Outbound, &service, &route.name, &service)
            }
            BackendTarget::Invalid(_) => treatment.requests.clone(),
        });
        RouteEntry {
            requests: requests.collect(),
            treatment,
            backends,
            guards: self.guards(&route.name),
        }
    }

    fn treatment(
        &mut self,
        route: &Route,
        service: Option<&ServiceName>,
        policy: &Arc<TrafficPolicy>,
    ) -> Arc<Treatment> {
        let key = (route.name.clone(), service.cloned());
        if let Some(made) = self.treatments.get(&key) {
            return made.clone();
        }
        let label: Arc<str> = service.map(ToString::to_string).unwrap_or_default().into();
        let general = service.and_then(|service| self.services.get(service));
        let treat = Treat {
            fixed: self.fixed,
            label: &label,
            before: self.before.and_then(|before| before.treatments.get(&key)),
            general: general.map(|service| &service.treatment),
        };
        let mut made = treat.treatment(route.name.clone(), policy);
        made.mirrors = mirrors(self.fixed, &label, route);
        let made = Arc::new(made);
        self.treatments.insert(key, made.clone());
        made
    }
}

fn has_mirrors(route: &Route) -> bool {
    let backends = route.backends.iter().map(|backend| &backend.filters);
    let mut filters = [&route.filters].into_iter().chain(backends).flatten();
    filters.any(|filters| !filters.mirrors.is_empty())
}
