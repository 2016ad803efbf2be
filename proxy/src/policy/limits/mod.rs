//! Limits: how much may be in flight to a service at once. What exceeds them is refused at once (`UO`).
//!
//! Nothing here queues: a queue without a bound is an outage that has not been noticed yet. A guard counts
//! until it is dropped, so no path can forget to give its place back.

mod gauge;
mod peers;

use std::sync::Arc;

use gauge::Gauge;

pub use peers::{
    HANDSHAKES_MAX, HANDSHAKES_PER_PEER_MAX, OUTSIDERS_PER_PEER_MAX, PeerPlace, Peers,
};

/// Things of one kind in flight, all workers together.
#[derive(Debug)]
pub struct InFlight(Gauge);

/// A place in flight; dropping gives it back.
#[derive(Debug)]
#[must_use = "dropping gives the place back"]
pub struct Place(Arc<InFlight>);

impl InFlight {
    /// None yet.
    pub fn new() -> Self {
        Self(Gauge::new())
    }

    /// Takes a place if fewer than `most` are taken. The bound is an argument because a new snapshot may
    /// change it while places are taken.
    pub fn enter(self: &Arc<Self>, most: u32) -> Option<Place> {
        self.0.enter(most).then(|| Place(Arc::clone(self)))
    }

    /// Takes a place whatever the bound: for whoever would else wait for ever, see `upstream::dial`.
    pub fn enter_beyond(self: &Arc<Self>) -> Place {
        self.0.enter(u32::MAX);
        Place(Arc::clone(self))
    }

    /// How many are in flight.
    pub fn count(&self) -> u32 {
        self.0.count()
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.leave();
    }
}

/// What one service has in flight.
#[derive(Debug, Default)]
pub struct ServiceLoad {
    /// Against `maxConnections`.
    pub connections: Arc<InFlight>,
    /// Against `maxPendingRequests`.
    pub pending: Arc<InFlight>,
    /// Against `maxConcurrentRequests`.
    pub requests: Arc<InFlight>,
}

/// What one endpoint has in flight; its requests are counted where they are balanced.
#[derive(Debug, Default)]
pub struct EndpointLoad {
    /// Against `perEndpoint.maxConnections`.
    pub connections: Arc<InFlight>,
    /// Against `perEndpoint.maxPendingRequests`.
    pub pending: Arc<InFlight>,
}

/// A place with a service and one with its endpoint.
#[derive(Debug)]
pub struct Places {
    _service: Place,
    _endpoint: Place,
}

/// Whose bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The service's.
    Service,
    /// The endpoint's: another one may do.
    Endpoint,
}

impl Places {
    /// Takes both places or none.
    ///
    /// # Errors
    /// Whose bound is reached.
    pub fn enter(
        (service, most): (&Arc<InFlight>, u32),
        (endpoint, each): (&Arc<InFlight>, Option<u32>),
    ) -> Result<Self, Full> {
        Ok(Self {
            _endpoint: endpoint
                .enter(each.unwrap_or(u32::MAX))
                .ok_or(Full::Endpoint)?,
            _service: service.enter(most).ok_or(Full::Service)?,
        })
    }

    /// Takes both whatever the bounds.
    pub fn enter_beyond(service: &Arc<InFlight>, endpoint: &Arc<InFlight>) -> Self {
        Self {
            _service: service.enter_beyond(),
            _endpoint: endpoint.enter_beyond(),
        }
    }
}

#[cfg(test)]
mod tests;
