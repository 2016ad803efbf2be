//! Who wants to know what comes and goes: `usher watch`, `GET /v1/watch`, `usher.v1.Registry/Watch`.
//!
//! Nothing is queued for a watcher. Each compares what it has said with what is now, so one that is slow skips what it
//! missed (an instance that came and went meanwhile was never there), and one that takes nothing at all for
//! [`PATIENCE`] is given up, with the reason as its last word. Watchers are bounded; what they compare with is made once
//! for all of them.

mod changes;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    shares::{Bounds, Full, Place, Shares},
    snapshot::Snapshot,
    state::State,
    status::{ChangeReport, ServiceReport},
};

pub use crate::shares::Asker;
use changes::keeping;
pub use changes::{Filter, difference};

/// Watchers at once. They are people and a few programs; sidecars have their own stream. An identity, or an address over
/// REST, has enough for a program that is being replaced; all identities leave 16 to REST, which is the operator's, and the
/// network as many to who comes over loopback.
pub const WATCHERS: Bounds = Bounds {
    all: 64,
    each: 4,
    reserve: 16,
};

/// How long a watcher may take to take what it is told.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The services at one generation. Those that have not changed since the one before are the same values.
type Seen = (u64, Arc<Vec<Arc<ServiceReport>>>);

/// All watchers of a control plane.
#[derive(Debug, Clone)]
pub struct Watchers {
    state: State,
    room: Shares,
    newest: Arc<Mutex<Option<Seen>>>,
    stopping: watch::Receiver<bool>,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// What has changed. At first: everything there is, as if it had just come.
    Changes(Vec<ChangeReport>),
    /// All that there was when the watch began has been told.
    Synced,
    /// Nothing more comes, and why.
    Ended(&'static str),
}

/// [`WATCHERS`] are watching already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The asker itself.
    #[error(
        "you watch as often as one identity or address may ({}); end one, or use one watch for several services", WATCHERS.each
    )]
    Share,
    /// Others.
    #[error(
        "{} are watching, no more are served; end one, or ask for /v1/services now and then", WATCHERS.all
    )]
    All,
}

impl Watchers {
    /// Nobody yet; all end when the server is `stopping`.
    pub fn new(state: State, stopping: watch::Receiver<bool>) -> Self {
        Self {
            state,
            room: Shares::new(WATCHERS),
            newest: Arc::default(),
            stopping,
        }
    }

    /// One more, for this asker. Told until it is dropped.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn watch(&self, asker: &Asker, filter: Filter) -> Result<Watch, TooMany> {
        let place = self.room.take(asker).map_err(|full| match full {
            Full::Share => TooMany::Share,
            Full::All => TooMany::All,
        })?;
        let (sender, receiver) = mpsc::channel(1);
        let (last_word, why) = watch::channel("");
        let watcher = Watcher {
            watchers: self.clone(),
            filter,
            sender,
            _place: place,
        };
        tokio::spawn(async move {
            // Its receiver may be gone: then nobody wants to know.
            let _ = last_word.send(watcher.run().await);
        });
        Ok(Watch {
            told: receiver,
            why: Some(why),
        })
    }

    /// What there is, made by whoever needs it first.
    fn seen(&self, generation: u64) -> Arc<Vec<Arc<ServiceReport>>> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((made_at, services)) if *made_at >= generation => Arc::clone(services),
            _ => {
                let before = newest.as_ref().map(|(_, services)| services.as_slice());
                let services = keeping(before.unwrap_or_default(), self.state.services());
                let services = Arc::new(services);
                *newest = Some((generation, Arc::clone(&services)));
                services
            }
        }
    }
}

/// What one watcher is told, in order.
#[derive(Debug)]
pub struct Watch {
    told: mpsc::Receiver<Told>,
    why: Option<watch::Receiver<&'static str>>,
}

impl Watch {
    /// The next word; `None` after the last one.
    pub async fn next(&mut self) -> Option<Told> {
        if let Some(told) = self.told.recv().await {
            return Some(told);
        }
        let mut why = self.why.take()?;
        let why = why.wait_for(|why| !why.is_empty()).await;
        // An error: its task was ended with the server.
        Some(Told::Ended(why.map_or(STOPPED, |why| *why)))
    }
}

const STOPPED: &str = "the control plane stops";

/// The task that tells.
struct Watcher {
    watchers: Watchers,
    filter: Filter,
    sender: mpsc::Sender<Told>,
    _place: Place,
}

impl Watcher {
    /// Until there is a reason to stop.
    async fn run(self) -> &'static str {
        let mut stopping = self.watchers.stopping.clone();
        tokio::select! {
            why = self.tell() => why,
            _ = stopping.wait_for(|stopping| *stopping) => STOPPED,
            () = self.sender.closed() => "it has gone",
        }
    }

    async fn tell(&self) -> &'static str {
        const SLOW: &str = "it took nothing for 30 s; watch again";
        let mut snapshots = self.watchers.state.snapshots();
        let mut said: Arc<Vec<Arc<ServiceReport>>> = Arc::default();
        let mut synced = false;
        loop {
            let generation = generation(&mut snapshots);
            let now = self.watchers.seen(generation);
            let changes = difference(&said, &now, &self.filter);
            said = now;
            if !changes.is_empty() && !self.say(Told::Changes(changes)).await {
                return SLOW;
            }
            if !synced && !self.say(Told::Synced).await {
                return SLOW;
            }
            synced = true;
            if snapshots.changed().await.is_err() {
                return STOPPED;
            }
        }
    }

    async fn say(&self, told: Told) -> bool {
        self.sender.send_timeout(told, PATIENCE).await.is_ok()
    }
}

fn generation(snapshots: &mut watch::Receiver<Arc<Snapshot>>) -> u64 {
    snapshots.borrow_and_update().generation
}

#[cfg(test)]
mod tests;
