//! A shared store that a test plays, for control planes that are all in this process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::Sender;
use usher_config::value::SpiffeId;

use super::*;
use crate::registry::{
    MemoryStore,
    history::Replaced,
    shared::{Acknowledgement, Permits},
    store::{Commit, Stored},
};

/// What is in it.
#[derive(Debug)]
pub(super) struct Hub {
    store: MemoryStore,
    position: AtomicU64,
    instances: std::sync::Mutex<Instances>,
    committed: watch::Sender<Revision>,
    said: std::sync::Mutex<BTreeMap<usize, Acknowledgement>>,
    /// How often anybody said it.
    pub(super) words: AtomicU64,
}

#[derive(Debug, Default)]
struct Instances {
    registered: BTreeMap<InstanceName, (Registration, u64)>,
    followers: Vec<Sender<Batch>>,
    /// While its watches hang: what nobody was told yet.
    held_back: Option<Vec<Batch>>,
}

/// One control plane's end of it.
#[derive(Debug)]
pub(super) struct End {
    hub: Arc<Hub>,
    number: usize,
    health: watch::Sender<Health>,
    /// To the next goodbye.
    pub(super) loses_an_answer: AtomicBool,
}

impl Default for Hub {
    fn default() -> Self {
        let nothing = Revision {
            number: 0,
            digest: String::new(),
        };
        Self {
            store: MemoryStore::default(),
            position: AtomicU64::default(),
            instances: std::sync::Mutex::default(),
            committed: watch::Sender::new(nothing),
            said: std::sync::Mutex::default(),
            words: AtomicU64::default(),
        }
    }
}

impl Hub {
    /// Another control plane.
    pub(super) async fn join(self: &Arc<Self>, number: usize) -> (State, Arc<End>) {
        let end = self.end(number);
        let state = State::of_replica(Box::new(end.clone()), end.clone()).await;
        (state.expect("opens"), end)
    }

    pub(super) fn end(self: &Arc<Self>, number: usize) -> Arc<End> {
        Arc::new(End {
            hub: self.clone(),
            number,
            health: watch::Sender::new(Health::Reachable),
            loses_an_answer: AtomicBool::new(false),
        })
    }

    pub(super) fn stored(&self) -> Stored {
        self.store.load().expect("memory")
    }

    fn write(&self, change: impl FnOnce(&mut Instances, u64) -> Event) -> u64 {
        let mut instances = lock(&self.instances);
        let position = self.position.fetch_add(1, Ordering::SeqCst) + 2;
        let events = vec![change(&mut instances, position)];
        match &mut instances.held_back {
            Some(held_back) => held_back.push(Batch { position, events }),
            None => instances.tell(&Batch { position, events }),
        }
        position
    }

    /// It has this configuration now.
    pub(super) fn hold(&self, stored: Stored) {
        let (number, newest) = (stored.number(), stored.revisions.last());
        let digest = newest.map_or_else(String::new, |record| record.digest.clone());
        self.store.restore(stored);
        self.committed.send_replace(Revision { number, digest });
    }

    /// It comes back with this configuration, and without registrations.
    pub(super) fn restore(&self, stored: Stored) {
        self.hold(stored);
        let mut instances = lock(&self.instances);
        instances.registered.clear();
        self.position.store(0, Ordering::SeqCst);
        let (position, events) = (1, vec![Event::All(Vec::new())]);
        instances.tell(&Batch { position, events });
    }

    /// The same, with positions that go on far beyond all that were heard of.
    pub(super) fn restore_beyond(&self, stored: Stored) {
        const BEYOND: u64 = 1_000_000_000;
        self.hold(stored);
        let mut instances = lock(&self.instances);
        instances.registered.clear();
        self.position.store(BEYOND, Ordering::SeqCst);
        let (position, events) = (BEYOND + 1, vec![Event::Anew(Vec::new())]);
        instances.tell(&Batch { position, events });
    }

    /// All leases have ended while nobody reached it, who does now.
    pub(super) fn forget_as_missed(&self) -> u64 {
        let mut instances = lock(&self.instances);
        instances.registered.clear();
        let position = self.position.fetch_add(1, Ordering::SeqCst) + 2;
        let events = vec![Event::Missed(Vec::new())];
        instances.tell(&Batch { position, events });
        position
    }

    /// Of who has the name.
    pub(super) fn lease_of(&self, name: &InstanceName) -> Option<String> {
        let instances = lock(&self.instances);
        let found = instances.registered.get(name);
        found.map(|(found, _)| found.lease.clone())
    }

    /// As if others had written this.
    pub(super) fn send(&self, batch: &Batch) {
        lock(&self.instances).tell(batch);
    }

    /// All watches hang, though calls are answered.
    pub(super) fn hold_back(&self) {
        lock(&self.instances).held_back = Some(Vec::new());
    }

    /// They go on.
    pub(super) fn let_go(&self) {
        let mut instances = lock(&self.instances);
        let held_back = instances.held_back.take().unwrap_or_default();
        held_back.iter().for_each(|batch| instances.tell(batch));
    }
}

impl Instances {
    fn tell(&self, batch: &Batch) {
        for follower in &self.followers {
            let (position, events) = (batch.position, batch.events.clone());
            follower.try_send(Batch { position, events }).expect("room");
        }
    }
}

impl End {
    /// It finds nobody any more, or again.
    pub(super) fn cut(&self, is_cut: bool) {
        self.health.send_replace(match is_cut {
            true => Health::Unreachable {
                since: std::time::SystemTime::UNIX_EPOCH,
                why: "cut".into(),
            },
            false => Health::Reachable,
        });
    }

    fn reached(&self) -> Result<&Hub, SharedError> {
        match &*self.health.borrow() {
            Health::Reachable => Ok(&self.hub),
            Health::Unreachable { why, .. } => Err(SharedError::Unreachable { why: why.clone() }),
        }
    }
}

impl Store for End {
    fn load(&self) -> Result<Stored, StoreError> {
        self.reached()?.store.load()
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let hub = self.reached()?;
        hub.store.commit(commit)?;
        hub.committed.send_replace(Revision {
            number: commit.revision.number,
            digest: commit.revision.digest.clone(),
        });
        Ok(())
    }

    fn replaced(&self, number: u64) -> Result<Replaced, StoreError> {
        self.reached()?.store.replaced(number)
    }

    fn set_trust_domain(
        &self,
        domain: &usher_config::value::TrustDomain,
    ) -> Result<(), StoreError> {
        self.reached()?.store.set_trust_domain(domain)
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Shared for End {
    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn committed(&self) -> watch::Receiver<Revision> {
        self.hub.committed.subscribe()
    }

    fn follow(&self, events: Sender<Batch>) -> BoxFuture<'static, ()> {
        let mut instances = lock(&self.hub.instances);
        let all = instances.registered.values();
        let all = Event::All(all.map(|(registration, _)| registration.clone()).collect());
        let first = Batch {
            position: self.hub.position.load(Ordering::SeqCst) + 1,
            events: vec![all],
        };
        events.try_send(first).expect("room");
        instances.followers.push(events);
        ready(())
    }

    fn position_of<'a>(
        &'a self,
        name: &'a InstanceName,
    ) -> BoxFuture<'a, Result<u64, SharedError>> {
        let found = |hub: &Hub| {
            let instances = lock(&hub.instances);
            instances.registered.get(name).map_or(0, |(_, at)| *at)
        };
        ready(self.reached().map(found))
    }

    fn register<'a>(
        &'a self,
        name: &'a InstanceName,
        instance: Instance,
        permits: Permits<'a>,
    ) -> BoxFuture<'a, Result<(String, u64), WriteError>> {
        let register = |hub: &Hub| {
            let holder: Option<SpiffeId> = {
                let instances = lock(&hub.instances);
                let found = instances.registered.get(name);
                found.map(|(found, _)| found.instance.identity.clone())
            };
            if let Some(holder) = holder.filter(|one| *one != instance.identity && permits(one)) {
                return Err(WriteError::Held(holder));
            }
            let mut lease = String::new();
            let position = hub.write(|instances, at| {
                lease = format!("lease {at}");
                let registration = Registration {
                    name: name.clone(),
                    instance,
                    lease: lease.clone(),
                };
                let kept = (registration.clone(), at);
                instances.registered.insert(name.clone(), kept);
                Event::Put(registration.into())
            });
            Ok((lease, position))
        };
        ready(self.reached().map_err(WriteError::from).and_then(register))
    }

    fn register_absent<'a>(
        &'a self,
        name: &'a InstanceName,
        instance: Instance,
    ) -> BoxFuture<'a, Result<(String, u64), WriteError>> {
        match self.hub.lease_of(name) {
            Some(_) => ready(Err(WriteError::LeaseGone)),
            None => self.register(name, instance, &|_| true),
        }
    }

    fn renew<'a>(&'a self, lease: &'a str) -> BoxFuture<'a, Result<(), WriteError>> {
        let renew = |hub: &Hub| {
            let instances = lock(&hub.instances);
            let mut all = instances.registered.values();
            let is_there = all.any(|(registration, _)| registration.lease == lease);
            is_there.then_some(()).ok_or(WriteError::LeaseGone)
        };
        let renewed = self.reached().map_err(WriteError::from).and_then(renew);
        Box::pin(async move {
            // As who has to find out that nobody answers.
            if matches!(renewed, Err(WriteError::Store(_))) {
                sleep(Duration::from_millis(50)).await;
            }
            renewed
        })
    }

    fn update<'a>(
        &'a self,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<u64, WriteError>> {
        let update = |hub: &Hub| {
            hub.write(|instances, at| {
                let kept = (registration.clone(), at);
                instances.registered.insert(registration.name.clone(), kept);
                Event::Put(Box::new(registration.clone()))
            })
        };
        ready(self.reached().map_err(WriteError::from).map(update))
    }

    fn deregister<'a>(
        &'a self,
        name: &'a InstanceName,
        lease: &'a str,
    ) -> BoxFuture<'a, Result<u64, WriteError>> {
        let deregister = |hub: &Hub| {
            if hub.lease_of(name).as_deref() != Some(lease) {
                return Err(WriteError::LeaseGone);
            }
            let position = hub.write(|instances, at| {
                instances.registered.remove(name);
                Event::Gone(name.clone(), at)
            });
            match self.loses_an_answer.swap(false, Ordering::SeqCst) {
                // The second attempt finds nothing.
                true => Err(WriteError::LeaseGone),
                false => Ok(position),
            }
        };
        let reached = self.reached().map_err(WriteError::from);
        ready(reached.and_then(deregister))
    }

    fn acknowledge(&self, applied: Acknowledgement) -> BoxFuture<'_, Result<(), SharedError>> {
        let say = |hub: &Hub| {
            hub.words.fetch_add(1, Ordering::SeqCst);
            drop(lock(&hub.said).insert(self.number, applied));
        };
        ready(self.reached().map(say))
    }

    fn acknowledged(&self, position: u64) -> BoxFuture<'_, Result<bool, SharedError>> {
        let said = |hub: &Hub| {
            let said = lock(&hub.said);
            let mut others = said.iter().filter(|(number, _)| **number != self.number);
            others.all(|(_, applied)| applied.covers(position))
        };
        ready(self.reached().map(said))
    }

    fn depart(&self) -> BoxFuture<'_, ()> {
        lock(&self.hub.said).remove(&self.number);
        ready(())
    }
}
