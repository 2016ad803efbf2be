//! Which services this sidecar wants to know: those its application dials, and those they lead to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use usher_config::{
    model::{BackendTarget, FallbackTarget, Service, TrafficPolicy},
    value::ServiceName,
};

/// A service that nobody dialled for this long is dropped.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(600);

/// Services that an application may dial and that are remembered at once: an application that dials made-up names
/// must not fill our memory and the control plane's. The one unused for longest goes first.
pub(super) const DIALLED_MAX: usize = 4_096;

/// The roots of what is wanted.
#[derive(Debug, Default)]
pub(super) struct Interest {
    pinned: BTreeSet<ServiceName>,
    dialled: BTreeMap<ServiceName, Instant>,
}

impl Interest {
    /// `pinned` services are wanted for ever: those of local TCP listeners.
    pub(super) fn new(pinned: impl IntoIterator<Item = ServiceName>) -> Self {
        Self {
            pinned: pinned.into_iter().collect(),
            dialled: BTreeMap::new(),
        }
    }

    pub(super) fn used(&mut self, service: &ServiceName, now: Instant) {
        if !self.dialled.contains_key(service) && self.dialled.len() >= DIALLED_MAX {
            let oldest = self.dialled.iter().min_by_key(|(_, used)| **used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.dialled.remove(&oldest);
            }
        }
        self.dialled.insert(service.clone(), now);
    }

    pub(super) fn used_all(&mut self, now: Instant) {
        self.dialled.values_mut().for_each(|used| *used = now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.dialled
            .retain(|_, used| now.saturating_duration_since(*used) < IDLE_MAX);
    }

    /// The roots and everything reachable from them; `model` knows the services that have arrived so far.
    pub(super) fn wanted<'a>(
        &self,
        model: impl Fn(&ServiceName) -> Option<&'a Service>,
    ) -> BTreeSet<ServiceName> {
        let mut wanted = BTreeSet::new();
        let mut open: Vec<ServiceName> = self
            .pinned
            .iter()
            .chain(self.dialled.keys())
            .cloned()
            .collect();
        while let Some(name) = open.pop() {
            if !wanted.contains(&name) {
                open.extend(model(&name).into_iter().flat_map(leads_to));
                wanted.insert(name);
            }
        }
        wanted
    }
}

/// Services that a request or a connection to `service` may end up at.
fn leads_to(service: &Service) -> Vec<ServiceName> {
    let of_requests = service.routes.iter().flat_map(|route| &*route.backends);
    let of_connections = service.streams.iter().flat_map(|route| &route.backends);
    let backends = of_requests.chain(of_connections);
    let backends = backends.filter_map(|backend| match &backend.target {
        BackendTarget::Service(target) => Some(target.service.clone()),
        BackendTarget::Invalid(_) => None,
    });
    let policies = service
        .routes
        .iter()
        .map(|route| &route.policy)
        .chain([&service.policy]);
    backends
        .chain(policies.filter_map(|policy| fallback(policy)))
        .collect()
}

fn fallback(policy: &TrafficPolicy) -> Option<ServiceName> {
    match &policy.fallback.as_ref()?.target {
        FallbackTarget::Service(target) => Some(target.service.clone()),
        FallbackTarget::Response(_) => None,
    }
}
