//! Connections that are still there: a drain ends when there are none.
//!
//! Connections, not requests: a drained connection closes itself after its last stream, and a count per request
//! would be a cache line for all workers to fight over.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::telemetry::metrics::Direction;

/// Shared by all workers and the control thread.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    inbound: AtomicUsize,
    outbound: AtomicUsize,
    idle: Notify,
}

impl Counts {
    fn of(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// One downstream connection; counts until dropped.
#[derive(Debug)]
#[must_use = "the connection counts only as long as this lives"]
pub struct Active {
    counts: Arc<Counts>,
    direction: Direction,
}

impl Activity {
    /// A downstream connection begins.
    pub fn begin(&self, direction: Direction) -> Active {
        self.0.of(direction).fetch_add(1, Ordering::Relaxed);
        Active {
            counts: self.0.clone(),
            direction,
        }
    }

    /// Downstream connections at this moment.
    pub fn count(&self, direction: Direction) -> usize {
        self.0.of(direction).load(Ordering::Relaxed)
    }

    /// Returns as soon as there are none.
    pub async fn idle(&self, direction: Direction) {
        loop {
            let changed = self.0.idle.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.count(direction) == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self
            .counts
            .of(self.direction)
            .fetch_sub(1, Ordering::AcqRel)
            == 1
        {
            self.counts.idle.notify_waiters();
        }
    }
}
