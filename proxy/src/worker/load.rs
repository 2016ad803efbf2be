//! What a worker has under way: for handing connections to the idlest, and for knowing when a drain is done.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::telemetry::metrics::Direction;

/// One worker's counts. Written by it alone (and by who hands it a connection), read by all.
#[derive(Debug, Default)]
pub struct Load {
    connections: AtomicU32,
    inbound: AtomicU32,
    outbound: AtomicU32,
}

/// What all workers have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Active {
    /// From callers, idle ones included.
    pub connections: u32,
    /// Requests and opaque streams from the mesh.
    pub inbound_streams: u32,
    /// Requests and opaque streams from our application.
    pub outbound_streams: u32,
}

impl Load {
    /// Connections from callers.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn add_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn active(&self) -> Active {
        Active {
            connections: self.connections(),
            inbound_streams: self.inbound.load(Ordering::Acquire),
            outbound_streams: self.outbound.load(Ordering::Acquire),
        }
    }

    /// Counts a stream while the place lives.
    pub fn stream(self: &Arc<Self>, direction: Direction) -> StreamPlace {
        self.streams(direction).fetch_add(1, Ordering::AcqRel);
        StreamPlace {
            load: self.clone(),
            direction,
        }
    }

    fn streams(&self, direction: Direction) -> &AtomicU32 {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// A stream under way.
#[derive(Debug)]
#[must_use = "dropping ends the count"]
pub struct StreamPlace {
    load: Arc<Load>,
    direction: Direction,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.load
            .streams(self.direction)
            .fetch_sub(1, Ordering::AcqRel);
    }
}
