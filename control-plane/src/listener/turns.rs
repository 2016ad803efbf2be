//! Turns for handshakes: so many at once, of which no address has all.
//!
//! Anybody who reaches the port may ask for a handshake, and may then say nothing more. So a turn is about the CPU that a
//! handshake takes, not about how long its peer takes: it is held for a moment, and who needs longer goes on without one. And
//! whoever waits for a turn waits for those of his own address first.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::shares::{
    Asker,
    lines::{self, Lines},
};

/// How many turns there are, and who may have how many of them for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At once.
    pub(super) all: usize,
    /// Of one address.
    pub(super) each: lines::Bounds,
    /// A handshake that is not over by then goes on beside them.
    pub(super) held_max: Duration,
}

/// The turns.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    lines: Lines,
    held_max: Duration,
}

/// Given back when dropped.
pub(super) struct Turn {
    _own: Option<lines::Turn>,
    _of_all: Option<OwnedSemaphorePermit>,
    held_max: Duration,
}

impl Turns {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            all: Arc::new(Semaphore::new(bounds.all)),
            lines: Lines::new(bounds.each),
            held_max: bounds.held_max,
        }
    }

    /// A turn, perhaps after a while. `None`: a peer that has gone before it was asked where it is.
    pub(super) async fn wait(&self, asker: Option<Asker>) -> Turn {
        let own = match asker {
            Some(asker) => Some(self.lines.wait(asker).await),
            None => None,
        };
        Turn {
            _own: own,
            // Never closed; without the permit the handshake is only one more at once.
            _of_all: Arc::clone(&self.all).acquire_owned().await.ok(),
            held_max: self.held_max,
        }
    }
}

impl Turn {
    /// Does `work` in this turn, or what is left of it without one.
    pub(super) async fn take<T>(self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = timeout(self.held_max, &mut work).await {
            return done;
        }
        drop(self);
        work.await
    }
}

#[cfg(test)]
mod tests;
