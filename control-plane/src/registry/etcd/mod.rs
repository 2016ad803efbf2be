//! The store that several control planes share: etcd.
//!
//! A commit is one transaction that compares the pointer (`<prefix>/revision`) with what it was when the commit was
//! decided. Its number, the objects and the virtual addresses it gave out are in force together or not at all, so two
//! control planes never give one number to two configurations, nor one address to two services. What is larger than a
//! transaction is staged first ([`batch`]). All reads of one [`Store::load`] are of one moment of etcd's.
//!
//! ```text
//! <prefix>/revision                     the pointer, watched by all
//! <prefix>/configuration/<table>/<key>  objects, denied, virtual_addresses, deleted_services, revisions
//! <prefix>/staged/<number>-<id>/<n>     pieces of a large commit, until they are in the tables
//! <prefix>/replaced/<number>/...        what revisions replaced, for `usher rollback`
//! <prefix>/settings/trust_domain        what a mesh never changes
//! <prefix>/ca/...                       roots, and who signs under which         (trust.rs)
//! <prefix>/instances/<ns>/<svc>/<name>  registrations, each under a lease        (instances.rs)
//! <prefix>/instances/.left               who has left last                           (instances.rs)
//! <prefix>/replicas/<id>                control planes that live, under a lease  (presence.rs)
//! <prefix>/tokens/<id>                  join tokens, hashed, under a lease       (tokens.rs)
//! ```
//!
//! No private key is ever here. etcd keeps old versions of keys until it is told to compact: run it with
//! `--auto-compaction-retention=1h`. Nothing here reads old versions, but for the moment that a load takes.

mod batch;
mod connection;
mod following;
mod instances;
mod keys;
mod presence;
mod tables;
mod tls;
mod tokens;
mod trust;
mod watching;

use std::{fmt, sync::Arc};

use tokio::{runtime::Handle, sync::watch, task::AbortHandle};
use usher_config::{model::Revision, value::TrustDomain};

use super::{
    StoreError,
    embedded::{parsed, read, written},
    history::{Replaced, prefix},
    shared::SharedError,
    store::{Commit, Store, Stored},
};
use batch::{Changes, Plan, Pointer};
use connection::Connection;
use keys::{get, move_pointer, pieces, pointer, put, range, range_before, unstage};
use tables::Entries;

pub use connection::EtcdOptions;
pub use tls::{EtcdTlsError, TlsFiles, client_tls};
pub use tokens::EtcdTokens;
pub use trust::EtcdTrust;

/// What all compare and watch.
const POINTER: &str = "revision";
const TRUST_DOMAIN: &str = "settings/trust_domain";
const ROOT: &str = "settings/root";

/// How often a change is decided again when others were faster.
const ATTEMPTS_MAX: u32 = 10;

/// etcd, as a [`Store`] and as what control planes [share](super::shared::Shared).
pub struct EtcdStore {
    etcd: Arc<Connection>,
    runtime: Handle,
    committed: watch::Sender<Revision>,
    /// Of the task that watches the pointer.
    watching: AbortHandle,
    presence: presence::Presence,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdStore").field(&self.etcd).finish()
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl EtcdStore {
    /// Connects, and follows the pointer from then on. In a tokio runtime; later calls block, as a [`Store`]'s do, and
    /// need it.
    ///
    /// # Errors
    /// No member answers, or refuses us.
    pub async fn connect(options: EtcdOptions) -> Result<Self, StoreError> {
        let etcd = Arc::new(Connection::open(options).await?);
        let (pointer, _) = pointer(&etcd).await?;
        let committed = watch::Sender::new(pointer.revision());
        let watching = tokio::spawn(watching::follow_pointer(etcd.clone(), committed.clone()));
        Ok(Self {
            presence: presence::Presence::new(&etcd),
            etcd,
            runtime: Handle::current(),
            committed,
            watching: watching.abort_handle(),
        })
    }

    /// The only root of a mesh from the time before there were several, SHA-256 of its public key in hex; `None`: the mesh is
    /// younger.
    ///
    /// # Errors
    /// etcd cannot be reached.
    pub async fn root(&self) -> Result<Option<String>, SharedError> {
        let key = self.etcd.key(ROOT);
        let answer = self
            .etcd
            .call(|client| get(client, key.clone(), None))
            .await?;
        let value = answer.kvs().first().map(|pair| pair.value().to_vec());
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// A handle to the connection, for the mesh's roots.
    pub fn trust(&self) -> EtcdTrust {
        EtcdTrust::new(self.etcd.clone())
    }

    /// A second handle to the connection, for tokens.
    pub fn tokens(&self) -> EtcdTokens {
        EtcdTokens::new(self.etcd.clone(), self.runtime.clone())
    }

    /// Again, where etcd was told to forget the moment that was being read: that takes an operator, or its own timer.
    async fn load_now(&self) -> Result<Stored, StoreError> {
        let mut loaded = self.load_once().await;
        for _ in 1..ATTEMPTS_MAX {
            match &loaded {
                Err(StoreError::Shared(SharedError::Refused { why }))
                    if why.contains("compacted") =>
                {
                    loaded = self.load_once().await;
                }
                Ok(_) | Err(_) => break,
            }
        }
        loaded
    }

    async fn load_once(&self) -> Result<Stored, StoreError> {
        let etcd = &*self.etcd;
        let (pointer, read_at) = pointer(etcd).await?;
        let at = read_at.store;
        let tables = format!("{}/", tables::CONFIGURATION);
        let mut entries = range(etcd, &tables, Some(at)).await?;
        if pointer.pieces > 0 {
            tables::apply(&mut entries, pieces(etcd, &pointer, Some(at)).await?);
        }
        let mut stored = tables::stored(&entries)?;
        let settings = range(etcd, TRUST_DOMAIN, Some(at)).await?;
        if let Some(value) = settings.get(TRUST_DOMAIN) {
            let text: String = read("trust domain", value)?;
            stored.trust_domain = Some(parsed("trust domain", &text)?);
        }
        Ok(stored)
    }

    async fn commit_now(&self, commit: &Commit) -> Result<(), StoreError> {
        let next = Pointer {
            number: commit.revision.number,
            digest: commit.revision.digest.clone(),
            commit: uuid::Uuid::new_v4().simple().to_string(),
            pieces: 0,
        };
        for attempt in 0..ATTEMPTS_MAX {
            match self.attempt(commit, &next).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // What the one before has sent may have been made.
                Err(error) if attempt > 0 => return Err(unanswered(error)),
                Err(error) => return Err(error),
            }
        }
        Err(contended())
    }

    /// `false`: somebody was faster at something, look again.
    async fn attempt(&self, commit: &Commit, next: &Pointer) -> Result<bool, StoreError> {
        let (found, at) = pointer(&self.etcd).await?;
        if found.commit == next.commit {
            // An attempt of ours that nobody told us of.
            self.done(next).await;
            return Ok(true);
        }
        if found.number >= next.number && self.was_made(next).await? {
            // The same, and others have gone on from there.
            self.committed.send_replace(found.revision());
            return Ok(true);
        }
        if found.number + 1 != next.number {
            return Err(StoreError::Conflict {
                stored: found.number,
                expected: next.number.saturating_sub(1),
            });
        }
        if found.pieces > 0 {
            unstage(&self.etcd, &found, at.pointer).await?;
            return Ok(false);
        }
        let is_made = self.try_commit(commit, next, at.pointer).await?;
        if is_made {
            self.done(next).await;
        }
        Ok(is_made)
    }

    /// Whether the revision of this number is this commit's. Others go on only once it is in the tables.
    async fn was_made(&self, next: &Pointer) -> Result<bool, SharedError> {
        let key = self.etcd.key(&tables::revision(next.number));
        let answer = self.etcd.call(|client| get(client, key.clone(), None));
        let record = answer.await?.take_kvs().pop();
        Ok(record.is_some_and(|pair| tables::commit_of(pair.value()) == Some(next.commit.clone())))
    }

    /// `false`: the pointer has moved.
    async fn try_commit(
        &self,
        commit: &Commit,
        next: &Pointer,
        seen: i64,
    ) -> Result<bool, StoreError> {
        let mut whole = Entries::new();
        for table in tables::WHOLE {
            whole.extend(range(&self.etcd, table, None).await?);
        }
        let forgotten = format!("{}{}", tables::REPLACED, prefix(commit.replaced_from));
        whole.extend(range_before(&self.etcd, (tables::REPLACED, &forgotten)).await?);
        let changes = tables::changes((commit, &next.commit), &whole)?;
        let Plan::Staged(parts) = batch::plan(&changes)? else {
            return move_pointer(&self.etcd, seen, next, &changes)
                .await
                .map_err(unanswered);
        };
        let mut next = next.clone();
        next.pieces = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (index, piece) in parts.iter().enumerate() {
            let key = self.etcd.key(&format!("{}/{index:08}", next.stage()));
            self.etcd
                .call(|client| put(client, key.clone(), piece.clone()))
                .await?;
        }
        let moved = move_pointer(&self.etcd, seen, &next, &Changes::new()).await;
        moved.map_err(unanswered)
    }

    /// It is in force. What was staged goes to its place now, or by whoever commits next.
    async fn done(&self, next: &Pointer) {
        self.committed.send_replace(next.revision());
        if let Ok((found, at)) = pointer(&self.etcd).await
            && found.pieces > 0
        {
            let _ = unstage(&self.etcd, &found, at.pointer).await;
        }
    }

    async fn replaced_now(&self, number: u64) -> Result<Replaced, StoreError> {
        let (pointer, at) = pointer(&self.etcd).await?;
        let begin = format!("{}{}", tables::REPLACED, prefix(number));
        let mut entries = range(&self.etcd, &begin, Some(at.store)).await?;
        if pointer.pieces > 0 {
            let staged = pieces(&self.etcd, &pointer, Some(at.store)).await?;
            tables::apply(&mut entries, staged);
        }
        let of_this = entries.iter().filter(|(key, _)| key.starts_with(&begin));
        Replaced::of_entries(of_this.map(|(key, value)| {
            let key = key.strip_prefix(tables::REPLACED).unwrap_or(key);
            (key, value.as_slice())
        }))
    }

    async fn fix(&self, domain: &TrustDomain) -> Result<(), StoreError> {
        let (key, value) = (self.etcd.key(TRUST_DOMAIN), written(&domain.as_str())?);
        let call = |client| put(client, key.clone(), value.clone());
        Ok(self.etcd.call(call).await?)
    }
}

impl Store for EtcdStore {
    fn load(&self) -> Result<Stored, StoreError> {
        self.runtime.block_on(self.load_now())
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.runtime.block_on(self.commit_now(commit))
    }

    fn replaced(&self, number: u64) -> Result<Replaced, StoreError> {
        self.runtime.block_on(self.replaced_now(number))
    }

    fn set_trust_domain(&self, domain: &TrustDomain) -> Result<(), StoreError> {
        self.runtime.block_on(self.fix(domain))
    }
}

impl Pointer {
    fn revision(&self) -> Revision {
        Revision {
            number: self.number,
            digest: self.digest.clone(),
        }
    }
}

/// The transaction that puts a commit in force was sent, and nobody said what became of it.
fn unanswered(error: StoreError) -> StoreError {
    match error {
        StoreError::Shared(SharedError::Unreachable { why }) => {
            SharedError::Unanswered { why }.into()
        }
        other => other,
    }
}

fn contended() -> StoreError {
    StoreError::Shared(SharedError::Contended {
        attempts: ATTEMPTS_MAX,
    })
}
