//! The immutable compiled configuration that requests see: loaded once per request, swapped as a whole.
//!
//! One writer (the control thread) applies a [`Change`]; readers never wait. What outlives a configuration
//! (endpoints' load and ejection, breakers, budgets, counters) is shared between successive snapshots.

mod apply;
mod entry;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use usher_config::{
    model::{Endpoint, InboundPolicy, Revision, Service, TrustBundle},
    value::{InstanceName, ServiceName},
};

pub use entry::{EndpointEntry, ServiceEntry};

/// What a batch from the control plane changes; `None` in a pair removes the resource.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Services by name.
    pub services: Vec<(ServiceName, Option<Service>)>,
    /// Endpoints by name.
    pub endpoints: Vec<(InstanceName, Option<Endpoint>)>,
    /// Our own workload's policy; `None`: unchanged.
    pub inbound: Option<InboundPolicy>,
    /// The mesh's roots; `None`: unchanged.
    pub trust: Option<TrustBundle>,
    /// `None`: unchanged.
    pub revision: Option<Revision>,
}

/// Everything a request may need to know.
#[derive(Debug, Default)]
pub struct Snapshot {
    services: HashMap<ServiceName, Arc<ServiceEntry>>,
    /// Every spelling of every service's host name, lower case, without a port; and its virtual addresses.
    hosts: HashMap<Box<str>, Arc<ServiceEntry>>,
    inbound: Option<Arc<InboundPolicy>>,
    trust: Option<Arc<TrustBundle>>,
    revision: Option<Revision>,
}

impl Snapshot {
    /// The service of this name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<ServiceEntry>> {
        self.services.get(name)
    }

    /// The service that callers mean by this host (lower case, without a port).
    pub fn service_by_host(&self, host: &str) -> Option<&Arc<ServiceEntry>> {
        self.hosts.get(host)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        self.services.values()
    }

    /// What our own workload enforces; `None` until the first revision is in.
    pub fn inbound(&self) -> Option<&Arc<InboundPolicy>> {
        self.inbound.as_ref()
    }

    /// The mesh's roots; `None` until the first revision is in.
    pub fn trust(&self) -> Option<&Arc<TrustBundle>> {
        self.trust.as_ref()
    }

    /// `None` until the first revision is in.
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }
}

/// The cell that holds the current snapshot.
#[derive(Debug)]
pub struct Store {
    own: ServiceName,
    current: ArcSwap<Snapshot>,
}

impl Store {
    /// An empty one. `own` is our own service: its namespace completes callers' short names.
    pub fn new(own: ServiceName) -> Self {
        Self {
            own,
            current: ArcSwap::default(),
        }
    }

    /// Our own service.
    pub fn own(&self) -> &ServiceName {
        &self.own
    }

    /// The current snapshot. Requests call this once.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Swaps in the configuration that results from `change`. To be called by one thread only (the
    /// control thread): of two concurrent changes one would be lost.
    pub fn apply(&self, change: Change) {
        let next = apply::apply(&self.current.load(), &self.own, change);
        self.current.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests;
