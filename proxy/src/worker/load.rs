//! What a worker has under way: for handing connections to the idlest, and for knowing when a drain is done.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{accept::Purpose, telemetry::metrics::Direction};

/// One worker's counts. Written by it alone (and by who hands it a connection), read by all.
#[derive(Debug, Default)]
pub struct Load {
    inbound_connections: AtomicU32,
    outbound_connections: AtomicU32,
    inbound: AtomicU32,
    outbound: AtomicU32,
}

/// What all workers have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Active {
    /// From the mesh, idle ones included.
    pub inbound_connections: u32,
    /// From our application, idle ones included.
    pub outbound_connections: u32,
    /// Requests and opaque streams from the mesh.
    pub inbound_streams: u32,
    /// Requests and opaque streams from our application.
    pub outbound_streams: u32,
}

impl Active {
    /// Whether nothing is left to be waited for that way. A stream ends when its last byte is handed to the
    /// connection; the connection ends when that byte has left. So both count.
    pub fn is_idle(&self, direction: Direction) -> bool {
        match direction {
            Direction::Inbound => self.inbound_streams == 0 && self.inbound_connections == 0,
            Direction::Outbound => self.outbound_streams == 0 && self.outbound_connections == 0,
        }
    }
}

/// Which way a connection's requests go.
pub(super) fn direction(purpose: &Purpose) -> Direction {
    match purpose {
        Purpose::Inbound => Direction::Inbound,
        // A gateway's callers are strangers, but where they go is outbound.
        Purpose::Outbound | Purpose::Tcp(_) | Purpose::Gateway(_) => Direction::Outbound,
    }
}

impl Load {
    /// Connections from callers.
    pub fn connections(&self) -> u32 {
        let count = |connections: &AtomicU32| connections.load(Ordering::Relaxed);
        count(&self.inbound_connections) + count(&self.outbound_connections)
    }

    pub(crate) fn add_connection(&self, purpose: &Purpose) {
        self.of(direction(purpose)).fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_connection(&self, purpose: &Purpose) {
        self.of(direction(purpose)).fetch_sub(1, Ordering::AcqRel);
    }

    fn of(&self, direction: Direction) -> &AtomicU32 {
        match direction {
            Direction::Inbound => &self.inbound_connections,
            Direction::Outbound => &self.outbound_connections,
        }
    }

    pub(super) fn active(&self) -> Active {
        Active {
            inbound_connections: self.inbound_connections.load(Ordering::Acquire),
            outbound_connections: self.outbound_connections.load(Ordering::Acquire),
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
