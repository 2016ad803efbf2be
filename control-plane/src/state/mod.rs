//! The control plane's state: one value that everything on 15012 and 15010 reads, and the tasks that move it.
//!
//! Three things change: configuration ([`State::apply`]), instances (the registry) and roots
//! ([`State::set_trust_bundle`]). Each change has a *generation*; a publisher gathers them and makes the next
//! [`Snapshot`], which the streams that it concerns compare themselves with. Locks are held for memory work only, never across
//! a wait or the disk: readers of configuration take none.

mod apply;
mod callers;
mod candidate;
#[cfg(feature = "kubernetes")]
mod cluster;
mod rollback;
mod conditions;
mod configuration;
mod configure;
mod departures;
mod instances;
mod lookup;
mod keys;
mod objects;
mod open_error;
mod publish;
mod replica;
mod report;
mod strict;
mod trust;

pub use lookup::{Found, Lookup, Named, Wanted};
pub use report::Shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tracing::warn;
use usher_config::{
    kind::{Kind, Object, ObjectKey},
    model::TrustBundle,
    value::{JwksUri, Name, ServiceName, SpiffeId, TrustDomain},
};

use crate::{
    registry::{
        EmbeddedStore, Remarks, Store, StoreError, Tables, World, callers::Callers,
        complaints::unguarded, instances::Instances, shared::Shared,
    },
    snapshot::Snapshot,
    source::directory,
    xds::Connected,
};

use conditions::Transitions;
use configuration::Configuration;
use departures::Departures;
use replica::Gap;
use report::Kept;

pub use apply::{By, Decision};
pub use candidate::Judged;
pub use instances::{Departure, NotWritten};
pub use open_error::OpenError;
pub use rollback::{Change, RollbackError};
pub use strict::DISMISSED_FOR;

/// How long after its start a control plane doubts that it knows all instances: proxies and instances that were
/// away reconnect with back-off up to 30 s, many at once.
pub const SETTLING: Duration = Duration::from_secs(300);

/// The store's file in the data directory.
pub(crate) const STORE_FILE: &str = "configuration.redb";

/// Token issuers' keys as they were fetched last, a folder in the data directory.
pub(crate) const KEYS_FOLDER: &str = "jwks";

/// Everything the control plane knows. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    store: Box<dyn Store>,
    /// `None`: no other control plane has this store.
    shared: Option<Arc<dyn Shared>>,
    /// Where in a shared store's order of events `registry` is; 0: it was not read yet.
    position: watch::Sender<u64>,
    /// Told of whenever the others are to hear.
    departures: watch::Sender<Departures>,
    gap: ArcSwapOption<Gap>,
    /// Held by whoever changes configuration, across the disk; readers use `configuration`.
    writer: tokio::sync::Mutex<()>,
    configuration: ArcSwap<Configuration>,
    registry: Mutex<Registry>,
    bundle: Mutex<Option<TrustBundle>>,
    /// The version of the trust bundle, and the generation from which on snapshots have it.
    bundle_at: Mutex<(u64, u64)>,
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    /// Held while a snapshot is made from the one before it.
    publishing: Mutex<()>,
    connected: Arc<Connected>,
    transitions: Mutex<Transitions>,
    /// What candidates are held against.
    candidates: candidate::Known,
    /// When each token issuer's keys were fetched last.
    fetched: Mutex<BTreeMap<JwksUri, SystemTime>>,
    /// What was shown last to who looks.
    shown: tokio::sync::Mutex<Option<Kept>>,
    /// Whom a change would lock out.
    guard: strict::Guard,
    /// How often a revision was held or released, or what waits may come into force for another reason.
    released: watch::Sender<u64>,
    started: Instant,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.connected.end();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Registry {
    instances: Instances,
    /// Who calls services without the mesh's TLS.
    callers: Callers,
    /// A cluster has said who is there, and nobody else can be: absence is proof.
    is_settled: bool,
    /// A cluster is to say who is there, and has not yet: absence proves nothing.
    awaits_cluster: bool,
    /// Since the last snapshot.
    dirty: BTreeSet<ServiceName>,
    /// Taken out on purpose while settling.
    withdrawn: BTreeSet<String>,
    /// After a time without a shared store: until then, a lease that has ended may be had anew.
    doubts_until: Option<Instant>,
}

impl State {
    /// Opens the store in `data`, reads `config`, and starts the tasks that publish changes and end leases.
    ///
    /// # Errors
    /// [`OpenError`]. Mistakes in objects are none, nor is a directory that cannot be read (not mounted, not ours to read): the
    /// store's last good versions run, [`State::status`] tells. Only where nothing ever ran, such a directory is one, and
    /// a guard that would be left out.
    pub async fn open(config: &Path, data: &Path) -> Result<Self, OpenError> {
        let state = Self::restored(data)?;
        let stored = state.0.configuration.load_full();
        // Certificates come right after the configuration: without a trust domain, nobody was ever told what is stored.
        let is_first = stored.revisions.is_empty() || stored.world.fixed_domain.is_none();
        let path = config.to_owned();
        let parsed = match directory::read(config).await {
            Err(source) if is_first => return Err(OpenError::Directory { path, source }),
            Err(error) => {
                let revision = stored.configured.revision.number;
                warn!(
                    %error, directory = %path.display(), revision,
                    "the configuration directory cannot be read: starting with the stored revision, and looking again"
                );
                state.complain(config, &error);
                return Ok(state);
            }
            Ok(parsed) => parsed,
        };
        if is_first {
            let mistakes = unguarded(&parsed, config);
            if !mistakes.is_empty() {
                return Err(OpenError::Unread { path, mistakes });
            }
        }
        state.apply(parsed, config).await?;
        // At once: the first proxy must not be told that there is no such service.
        state.publish(Instant::now());
        Ok(state)
    }

    /// As [`Self::open`], of a mesh whose configuration nobody but the store in `data` has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn restored(data: &Path) -> Result<Self, StoreError> {
        let store = EmbeddedStore::open(&data.join(STORE_FILE))?;
        Self::new(Box::new(store))
    }

    /// The state a store remembers, with its tasks started. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(store: Box<dyn Store>) -> Result<Self, StoreError> {
        Self::start(store, None)
    }

    fn start(store: Box<dyn Store>, shared: Option<Arc<dyn Shared>>) -> Result<Self, StoreError> {
        let stored = store.load()?;
        let (world, unreadable) = World::restored(&stored);
        let (policies, unreadable): (Vec<ObjectKey>, Vec<ObjectKey>) = unreadable
            .into_iter()
            .partition(|key| matches!(key.kind, Kind::AccessPolicy | Kind::AuthenticationPolicy));
        // Without them everybody would be let in.
        if let Some(error) = StoreError::not_understood(&policies) {
            return Err(error);
        }
        for key in unreadable {
            warn!(object = %key, "stored object cannot be read by this version, it is not in force");
        }
        let guard = strict::Guard::new(stored.revisions.is_empty());
        let configuration = Configuration::new(
            None,
            world,
            stored.revisions,
            Vec::new(),
            Remarks::default(),
        );
        let inner = Inner {
            store,
            shared,
            position: watch::Sender::new(0),
            departures: watch::Sender::default(),
            gap: ArcSwapOption::empty(),
            writer: tokio::sync::Mutex::new(()),
            configuration: ArcSwap::from_pointee(configuration),
            registry: Mutex::default(),
            bundle: Mutex::default(),
            bundle_at: Mutex::default(),
            generation: AtomicU64::new(1),
            changes: watch::Sender::new(1),
            snapshots: watch::Sender::new(Arc::new(Snapshot {
                settling: true,
                ..Snapshot::default()
            })),
            publishing: Mutex::default(),
            connected: Arc::default(),
            transitions: Mutex::default(),
            candidates: candidate::Known::default(),
            fetched: Mutex::default(),
            shown: tokio::sync::Mutex::default(),
            guard,
            released: watch::Sender::new(0),
            started: Instant::now(),
        };
        let state = Self(Arc::new(inner));
        state.publish(Instant::now());
        tokio::spawn(publish::publish_changes(
            Arc::downgrade(&state.0),
            state.0.changes.subscribe(),
        ));
        tokio::spawn(publish::end_leases(Arc::downgrade(&state.0)));
        tokio::spawn(strict::watch_callers(Arc::downgrade(&state.0)));
        tokio::spawn(objects::watch_conditions(Arc::downgrade(&state.0)));
        Ok(state)
    }

    /// Whose identities this mesh has.
    pub fn trust_domain(&self) -> TrustDomain {
        self.0.configuration.load().compiled.trust_domain.clone()
    }

    /// The same, once it is fixed for good.
    pub fn fixed_trust_domain(&self) -> Option<TrustDomain> {
        self.0.configuration.load().world.fixed_domain.clone()
    }

    /// All that the store holds, for a backup; `None`: it makes backups by other means. Blocks on the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tables(&self) -> Result<Option<Tables>, StoreError> {
        self.0.store.tables()
    }

    /// Whether configuration lets `identity` be an instance of `service`.
    pub fn may_be(&self, identity: &SpiffeId, service: &ServiceName) -> bool {
        self.0
            .configuration
            .load()
            .compiled
            .may_be(identity, service)
    }

    /// Whether a Workload runs as this service account. The last good version of one with a mistake counts.
    pub fn declares(&self, namespace: &Name, service_account: &Name) -> bool {
        let account = (namespace.clone(), service_account.clone());
        let configuration = self.0.configuration.load();
        configuration.compiled.accounts.contains(&account)
    }

    /// The service accounts of the Workloads behind a service, or of the Workload of that name behind none; empty for
    /// an unknown one.
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

    /// Whether there is something of that name to call.
    pub fn has_service(&self, service: &ServiceName) -> bool {
        let configuration = self.0.configuration.load();
        configuration.compiled.services.contains_key(service)
    }

    /// The services of a namespace that select a workload with these labels, by name.
    pub fn services_selecting(
        &self,
        namespace: &Name,
        labels: &BTreeMap<String, String>,
    ) -> Vec<Name> {
        let configuration = self.0.configuration.load();
        let objects = configuration.world.objects.values();
        let services = objects.filter_map(|accepted| match &*accepted.object {
            Object::Service(service) if service.metadata.namespace == *namespace => Some(service),
            _ => None,
        });
        let selecting = services.filter(|service| service.spec.selects(labels));
        selecting
            .map(|service| service.metadata.name.clone())
            .collect()
    }

    /// Whom configuration knows: every service, and every workload that only calls, with the accounts that may be it.
    pub fn known_accounts(&self) -> Vec<(ServiceName, Vec<Name>)> {
        let configuration = self.0.configuration.load();
        let compiled = &configuration.compiled;
        let accounts = |name| {
            let backing = compiled.backing.get(name).into_iter().flatten();
            backing.map(|one| one.service_account.clone()).collect()
        };
        let names: BTreeSet<&ServiceName> = compiled
            .services
            .keys()
            .chain(compiled.backing.keys())
            .collect();
        names
            .into_iter()
            .map(|name| (name.clone(), accounts(name)))
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

    /// Something changed: the number of that change.
    fn changed(&self) -> u64 {
        let generation = self.0.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.0
            .changes
            .send_modify(|newest| *newest = generation.max(*newest));
        generation
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it cannot have left a half-made change: each is one insert or remove.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
