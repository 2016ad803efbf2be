//! Lines: whoever waits for a turn waits for those of his own first, so that a crowd of one asker stands in nobody else's way.
//!
//! A [share](super::Shares) is there or it is not; here one waits for it. Only askers who wait or have a turn are remembered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Asker;

/// A line for each asker. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Lines {
    bounds: Bounds,
    of: Arc<Mutex<HashMap<Asker, Line>>>,
}

/// How many turns an asker has at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Those on this machine, who are not one.
    pub here: usize,
    /// Any other.
    pub each: usize,
}

#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    askers: usize,
}

/// Given back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Turn {
    /// `None`: it is still waited for.
    permit: Option<OwnedSemaphorePermit>,
    asker: Asker,
    lines: Lines,
}

impl Lines {
    /// Nobody stands in any.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            of: Arc::default(),
        }
    }

    /// A turn, after those of the same asker who came before.
    pub async fn wait(&self, asker: Asker) -> Turn {
        let (turns, mut turn) = self.enter(asker);
        // Never closed.
        turn.permit = turns.acquire_owned().await.ok();
        turn
    }

    fn enter(&self, asker: Asker) -> (Arc<Semaphore>, Turn) {
        let most = match asker {
            Asker::Here => self.bounds.here,
            Asker::At(_) | Asker::Proven(_) => self.bounds.each,
        };
        let mut of = lock(&self.of);
        let line = of.entry(asker.clone()).or_insert_with(|| Line {
            turns: Arc::new(Semaphore::new(most)),
            askers: 0,
        });
        line.askers += 1;
        let turn = Turn {
            permit: None,
            asker,
            lines: self.clone(),
        };
        (Arc::clone(&line.turns), turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // First, so that nobody finds a line without it.
        drop(self.permit.take());
        let mut of = lock(&self.lines.of);
        if let Some(line) = of.get_mut(&self.asker) {
            line.askers = line.askers.saturating_sub(1);
            if line.askers == 0 {
                of.remove(&self.asker);
            }
        }
    }
}

fn lock(of: &Mutex<HashMap<Asker, Line>>) -> MutexGuard<'_, HashMap<Asker, Line>> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
