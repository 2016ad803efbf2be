//! The control plane's state: one value that everything on 15012 and 15010 reads, and the tasks that move it.
//!
//! Three things change: configuration ([`State::apply`]), instances (the registry) and roots
//! ([`State::set_trust_bundle`]). Each change has a *generation*; a publisher gathers them and makes the next
//! [`Snapshot`], which all streams compare themselves with. Locks are held for memory work only, never across
//! a wait or the disk: readers of configuration take none.

mod publish;
mod report;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{info, warn};
use usher_config::{
    model::{Endpoint, Revision, TrustBundle},
    parse::Parsed,
    value::{InstanceName, Name, ServiceName, SpiffeId, TrustDomain},
};

use crate::{
    compile::{Compiled, compile},
    registry::{
        EmbeddedStore, Store, StoreError, World,
        instances::{Effect, Instance, Instances, LeaseGone, Renewal, TooManyInstances},
        store::{Commit, HISTORY, RevisionRecord},
    },
    snapshot::{Configured, Snapshot, endpoints_of},
    source::directory::{self, Watch},
    status::{Condition, RejectedObject},
    xds::Connected,
};

/// How long after its start a control plane doubts that it knows all instances: proxies and instances that were
/// away reconnect with back-off up to 30 s, many at once.
pub const SETTLING: Duration = Duration::from_secs(300);

/// How many changed objects a revision's record names.
const CHANGED_MAX: usize = 100;

/// The store's file in the data directory.
const STORE_FILE: &str = "configuration.redb";

/// Everything the control plane knows. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    store: Box<dyn Store>,
    /// Held by whoever changes configuration, across the disk; readers use `configuration`.
    writer: tokio::sync::Mutex<()>,
    configuration: ArcSwap<Configuration>,
    registry: Mutex<Registry>,
    bundle: Mutex<Option<TrustBundle>>,
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    connected: Arc<Connected>,
    started: Instant,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The accepted configuration and what became of it. Never changes; replaced whole.
#[derive(Debug)]
struct Configuration {
    world: World,
    compiled: Compiled,
    configured: Arc<Configured>,
    revisions: Vec<RevisionRecord>,
    rejected: Vec<RejectedObject>,
    remarks: Vec<Condition>,
}

#[derive(Debug, Default)]
struct Registry {
    instances: Instances,
    /// Since the last snapshot.
    dirty: BTreeSet<ServiceName>,
    /// Taken out on purpose while settling.
    withdrawn: BTreeSet<String>,
}

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration directory.
    #[error("cannot read the configuration in {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data directory's file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether the configuration is to blame, and not the data directory.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

impl State {
    /// Opens the store in `data`, reads `config`, and starts the tasks that publish changes and end leases.
    ///
    /// # Errors
    /// [`OpenError`]. Mistakes in objects are none: the store's last good versions run, [`State::status`] tells.
    pub async fn open(config: &Path, data: &Path) -> Result<Self, OpenError> {
        let store = EmbeddedStore::open(&data.join(STORE_FILE))?;
        let state = Self::new(Box::new(store))?;
        let parsed = directory::read(config)
            .await
            .map_err(|source| OpenError::Directory {
                path: config.to_owned(),
                source,
            })?;
        state.apply(&parsed, config).await?;
        Ok(state)
    }

    /// The state a store remembers, with its tasks started. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let stored = store.load()?;
        let (world, unreadable) = World::restored(&stored);
        for key in unreadable {
            warn!(object = %key, "stored object cannot be read by this version, it is not in force");
        }
        let configuration = Configuration::new(world, stored.revisions, Vec::new(), Vec::new());
        let inner = Inner {
            store,
            writer: tokio::sync::Mutex::new(()),
            configuration: ArcSwap::from_pointee(configuration),
            registry: Mutex::default(),
            bundle: Mutex::default(),
            generation: AtomicU64::new(1),
            changes: watch::Sender::new(1),
            snapshots: watch::Sender::new(Arc::new(Snapshot {
                settling: true,
                ..Snapshot::default()
            })),
            connected: Arc::default(),
            started: Instant::now(),
        };
        let state = Self(Arc::new(inner));
        state.publish(Instant::now());
        tokio::spawn(publish::publish_changes(
            Arc::downgrade(&state.0),
            state.0.changes.subscribe(),
        ));
        tokio::spawn(publish::end_leases(Arc::downgrade(&state.0)));
        Ok(state)
    }

    /// Keeps the mesh as the directory says, for ever. A directory that cannot be read changes nothing.
    pub async fn run_directory(&self, directory: PathBuf) {
        let mut watch = Watch::new(&directory);
        let mut seen = None;
        loop {
            match directory::read(&directory).await {
                Ok(parsed) if seen.as_ref() == Some(&parsed.sources) => {}
                Ok(parsed) => match self.apply(&parsed, &directory).await {
                    Ok(_) => seen = Some(parsed.sources),
                    Err(error) => {
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "configuration not accepted"
                        );
                    }
                },
                Err(error) => {
                    warn!(%error, directory = %directory.display(), "configuration directory unreadable");
                    self.complain(&directory, &error);
                    // What was said about it is out of date as soon as it can be read.
                    seen = None;
                }
            }
            watch.changed().await;
        }
    }

    /// Takes in what was parsed: last good versions stay for what is broken, the rest becomes a new revision. The
    /// answer is that revision; `None`: nothing has changed.
    ///
    /// # Errors
    /// The store did not take it; the old configuration stays.
    pub async fn apply(
        &self,
        parsed: &Parsed,
        base: &Path,
    ) -> Result<Option<Revision>, StoreError> {
        let _writing = self.0.writer.lock().await;
        let current = self.0.configuration.load_full();
        let reading = current.world.read(parsed, base, SystemTime::now());
        for rejected in &reading.rejected {
            let mistake = rejected
                .mistakes
                .first()
                .map(|mistake| format!("{}: {}", mistake.at, mistake.message));
            warn!(
                object = rejected.object,
                last_good = rejected.last_good,
                mistake,
                "object rejected"
            );
        }
        let mut revisions = current.revisions.clone();
        let digest = reading.world.digest();
        let is_new = revisions
            .last()
            .is_none_or(|record| record.digest != digest);
        if is_new {
            let record = RevisionRecord {
                number: revisions.last().map_or(0, |record| record.number) + 1,
                digest,
                accepted_at: SystemTime::now(),
                changed: reading
                    .changed
                    .iter()
                    .take(CHANGED_MAX)
                    .map(ToString::to_string)
                    .collect(),
            };
            self.commit(&current.world, &reading.world, record.clone())
                .await?;
            info!(
                revision = record.number,
                changed = reading.changed.len(),
                "configuration accepted"
            );
            revisions.push(record);
            revisions.drain(..revisions.len().saturating_sub(HISTORY));
        }
        let mut next =
            Configuration::new(reading.world, revisions, reading.rejected, reading.remarks);
        if !is_new {
            // The same content: streams need not look at it again.
            next.configured = current.configured.clone();
        }
        let revision = next.configured.revision.clone();
        self.0.configuration.store(Arc::new(next));
        if is_new {
            self.changed();
        }
        Ok(is_new.then_some(revision))
    }

    async fn commit(
        &self,
        old: &World,
        new: &World,
        revision: RevisionRecord,
    ) -> Result<(), StoreError> {
        let is_stored = |key, accepted| old.objects.get(key) == Some(accepted);
        let accepted = new
            .objects
            .iter()
            .filter(|(key, accepted)| !is_stored(*key, *accepted));
        let commit = Commit {
            revision,
            accepted: accepted
                .map(|(key, accepted)| (key.clone(), accepted.stored()))
                .collect(),
            deleted: old
                .objects
                .keys()
                .filter(|key| !new.objects.contains_key(key))
                .cloned()
                .collect(),
            addresses: new.addresses.clone(),
        };
        let state = self.clone();
        tokio::task::spawn_blocking(move || state.0.store.commit(&commit))
            .await
            .map_err(|error| StoreError::Storage(Box::new(error)))?
    }

    fn complain(&self, directory: &Path, error: &io::Error) {
        let current = self.0.configuration.load_full();
        let rejected = RejectedObject {
            object: directory.display().to_string(),
            last_good: true,
            mistakes: vec![crate::status::MistakeReport {
                at: directory.display().to_string(),
                path: String::new(),
                message: format!("the configuration directory cannot be read: {error}"),
            }],
        };
        let next = Configuration {
            world: current.world.clone(),
            compiled: current.compiled.clone(),
            configured: current.configured.clone(),
            revisions: current.revisions.clone(),
            rejected: vec![rejected],
            remarks: Vec::new(),
        };
        // Somebody else has just accepted a configuration: then it can be read.
        self.0
            .configuration
            .compare_and_swap(&current, Arc::new(next));
    }

    /// Whose identities this mesh has.
    pub fn trust_domain(&self) -> TrustDomain {
        self.0.configuration.load().compiled.trust_domain.clone()
    }

    /// The roots that proxies shall trust. The first call fixes the mesh's trust domain for good.
    pub fn set_trust_bundle(&self, bundle: TrustBundle) {
        let domain = bundle.trust_domain.clone();
        *lock(&self.0.bundle) = Some(bundle);
        let current = self.0.configuration.load_full();
        if current.world.fixed_domain.as_ref() != Some(&domain) {
            if let Err(error) = self.0.store.set_trust_domain(&domain) {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "trust domain not stored"
                );
            }
            self.0.configuration.rcu(|current| {
                let mut world = current.world.clone();
                world.fixed_domain = Some(domain.clone());
                let (rejected, remarks) = (current.rejected.clone(), current.remarks.clone());
                Configuration::new(world, current.revisions.clone(), rejected, remarks)
            });
        }
        self.changed();
    }

    /// Whether configuration lets `identity` be an instance of `service`.
    pub fn may_be(&self, identity: &SpiffeId, service: &ServiceName) -> bool {
        self.0
            .configuration
            .load()
            .compiled
            .may_be(identity, service)
    }

    /// The service accounts of the Workloads behind a service; empty for an unknown one.
    pub fn service_account_of(&self, service: &ServiceName) -> Vec<Name> {
        let configuration = self.0.configuration.load();
        let backing = configuration
            .compiled
            .backing
            .get(service)
            .into_iter()
            .flatten();
        backing
            .map(|backing| backing.service_account.clone())
            .collect()
    }

    /// The newest snapshot, and every later one.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.snapshots.subscribe()
    }

    /// The proxies' streams.
    pub fn connected(&self) -> Arc<Connected> {
        self.0.connected.clone()
    }

    /// Every service's endpoints, now.
    pub fn endpoints(&self) -> Vec<(ServiceName, Vec<Endpoint>)> {
        let configuration = self.0.configuration.load();
        let registry = lock(&self.0.registry);
        let compiled = &configuration.compiled;
        let of = |name: &ServiceName| endpoints_of(compiled, &registry.instances, name);
        compiled
            .services
            .keys()
            .map(|name| (name.clone(), of(name)))
            .collect()
    }

    /// Takes an instance in and returns its lease. Whether it may be one was the caller's to ask.
    ///
    /// # Errors
    /// [`TooManyInstances`].
    pub fn register(
        &self,
        name: &InstanceName,
        instance: Instance,
    ) -> Result<String, TooManyInstances> {
        let lease = uuid::Uuid::new_v4().simple().to_string();
        info!(instance = %name, address = %instance.address, "instance registered");
        let mut registry = lock(&self.0.registry);
        registry
            .instances
            .register(name, instance, lease.clone(), Instant::now())?;
        registry.dirty.insert(name.service.clone());
        registry.withdrawn.remove(&name.to_string());
        drop(registry);
        self.changed();
        Ok(lease)
    }

    /// Prolongs a lease.
    ///
    /// # Errors
    /// [`LeaseGone`].
    pub fn renew(&self, name: &InstanceName, renewal: &Renewal<'_>) -> Result<(), LeaseGone> {
        let mut registry = lock(&self.0.registry);
        let effect = registry.instances.renew(name, renewal, Instant::now())?;
        if effect == Effect::Changed {
            info!(instance = %name, healthy = renewal.healthy, "instance health changed");
            registry.dirty.insert(name.service.clone());
            drop(registry);
            self.changed();
        }
        Ok(())
    }

    /// Takes an instance out; the answer is the generation from which nobody is told of it.
    ///
    /// # Errors
    /// [`LeaseGone`]: somebody else has this name now, or nobody.
    pub fn deregister(&self, name: &InstanceName, lease: &str) -> Result<u64, LeaseGone> {
        let mut registry = lock(&self.0.registry);
        let gone = registry.instances.deregister(name, lease);
        let settling = self.0.started.elapsed() < SETTLING;
        if gone.is_err() && (!settling || registry.instances.contains(name)) {
            return Err(LeaseGone);
        }
        // Its lease may be from before our start: proxies that resumed with it must drop it all the same.
        info!(instance = %name, "instance deregistered");
        if settling {
            registry.withdrawn.insert(name.to_string());
        }
        registry.dirty.insert(name.service.clone());
        drop(registry);
        Ok(self.changed())
    }

    /// Something changed: the number of that change.
    fn changed(&self) -> u64 {
        let generation = self.0.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.0
            .changes
            .send_modify(|newest| *newest = generation.max(*newest));
        generation
    }
}

impl Configuration {
    fn new(
        world: World,
        revisions: Vec<RevisionRecord>,
        rejected: Vec<RejectedObject>,
        remarks: Vec<Condition>,
    ) -> Self {
        let compiled = compile(&world);
        let newest = revisions.last();
        let revision = Revision {
            number: newest.map_or(0, |record| record.number),
            digest: newest
                .map(|record| record.digest.clone())
                .unwrap_or_default(),
        };
        let configured = Arc::new(Configured::new(&compiled, revision));
        Self {
            world,
            compiled,
            configured,
            revisions,
            rejected,
            remarks,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it cannot have left a half-made change: each is one insert or remove.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
