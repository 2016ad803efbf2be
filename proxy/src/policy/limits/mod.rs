//! Limits: how much may be in flight to a service at once. What exceeds them is refused at once (`UO`).
//!
//! Nothing here queues: a queue without a bound is an outage that has not been noticed yet. A guard counts
//! until it is dropped, so no path can forget to give its place back.

mod gauge;
mod handshakes;

use std::sync::Arc;

use gauge::Gauge;

pub use handshakes::{HANDSHAKES_MAX, HANDSHAKES_PER_PEER_MAX, Handshake, Handshakes};

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

#[cfg(test)]
mod tests;
