//! Turns for handshakes: so many at once, of which no address has all.
//!
//! Anybody who reaches the port may ask for a handshake, and may then say nothing more. So a turn is about the CPU that a
//! handshake takes, not about how long its peer takes: it is held for a moment, and who needs longer goes on without one. And
//! whoever waits for a turn waits for those of his own address first, so that a crowd from one stands in nobody else's way.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::shares::Asker;

/// How many turns there are, and who may have how many of them for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At once.
    pub(super) all: usize,
    /// From one address. Those on this machine are not one: what they leave to others is an eighth.
    pub(super) each: usize,
    /// A handshake that is not over by then goes on beside them.
    pub(super) held_max: Duration,
}

impl Bounds {
    fn of(self, asker: &Asker) -> usize {
        match asker {
            Asker::Here => self.all - self.all / 8,
            Asker::At(_) | Asker::Proven(_) => self.each,
        }
    }
}

/// The turns.
pub(super) struct Turns {
    bounds: Bounds,
    all: Arc<Semaphore>,
    /// Of those who have one or wait for one.
    each: Arc<Mutex<HashMap<Asker, Own>>>,
}

/// The turns of one address.
struct Own {
    turns: Arc<Semaphore>,
    askers: usize,
}

/// Given back when dropped.
pub(super) struct Turn {
    _own: Option<(OwnedSemaphorePermit, Entry)>,
    _of_all: Option<OwnedSemaphorePermit>,
    held_max: Duration,
}

/// Forgets an address with the last one who asks from there.
struct Entry {
    asker: Asker,
    each: Arc<Mutex<HashMap<Asker, Own>>>,
}

impl Turns {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            all: Arc::new(Semaphore::new(bounds.all)),
            each: Arc::default(),
        }
    }

    /// A turn, perhaps after a while. `from`: `None` for a peer that has gone before it was asked.
    pub(super) async fn wait(&self, from: Option<IpAddr>) -> Turn {
        let own = match from {
            None => None,
            Some(from) => {
                let (turns, entry) = self.enter(Asker::at(from));
                // Never closed; without the permit the handshake is only one more at once.
                turns.acquire_owned().await.ok().map(|turn| (turn, entry))
            }
        };
        Turn {
            _own: own,
            _of_all: Arc::clone(&self.all).acquire_owned().await.ok(),
            held_max: self.bounds.held_max,
        }
    }

    fn enter(&self, asker: Asker) -> (Arc<Semaphore>, Entry) {
        let mut each = lock(&self.each);
        let own = each.entry(asker.clone()).or_insert_with(|| Own {
            turns: Arc::new(Semaphore::new(self.bounds.of(&asker))),
            askers: 0,
        });
        own.askers += 1;
        let entry = Entry {
            asker,
            each: Arc::clone(&self.each),
        };
        (Arc::clone(&own.turns), entry)
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

impl Drop for Entry {
    fn drop(&mut self) {
        let mut each = lock(&self.each);
        if let Some(own) = each.get_mut(&self.asker) {
            own.askers = own.askers.saturating_sub(1);
            if own.askers == 0 {
                each.remove(&self.asker);
            }
        }
    }
}

fn lock(each: &Mutex<HashMap<Asker, Own>>) -> MutexGuard<'_, HashMap<Asker, Own>> {
    each.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
