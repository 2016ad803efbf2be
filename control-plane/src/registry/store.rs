//! Where accepted configuration survives a restart.
//!
//! A [`Store`] keeps what cannot be had again from the configuration's source: the last good version of each
//! object, when it was first accepted, what is closed for want of a valid policy, which addresses were given out, and the revision's number. Instances
//! are not in it: they hold leases and register again within seconds.
//!
//! One [`Commit`] is one transaction, and is refused unless the stored revision is the one it started from
//! (compare-and-set), so two writers can never give one number to two configurations.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use usher_config::{
    kind::ObjectKey,
    value::{ServiceName, TrustDomain},
};

use super::{Denied, Tables, history::Replaced};

/// What a store has been told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// Objects by name.
    pub objects: BTreeMap<ObjectKey, StoredObject>,
    /// AccessPolicies that never were valid.
    pub denied: BTreeMap<ObjectKey, Denied>,
    /// Virtual addresses by service; of a namespace's deleted services at most 1,000.
    pub addresses: BTreeMap<ServiceName, IpAddr>,
    /// Since when services are gone that still have an address.
    pub deleted: BTreeMap<ServiceName, SystemTime>,
    /// Newest last, at most [`HISTORY`]. Empty: nothing was ever accepted.
    pub revisions: Vec<RevisionRecord>,
    /// Fixed by the first certificate authority; changing it would orphan every identity.
    pub trust_domain: Option<TrustDomain>,
}

impl Stored {
    /// The newest revision's number; 0 when there is none.
    pub fn number(&self) -> u64 {
        self.revisions.last().map_or(0, |record| record.number)
    }

    /// Services that run `Permissive` although they are written `Strict`.
    pub fn still_permissive(&self) -> BTreeMap<ServiceName, Wait> {
        self.revisions
            .last()
            .map(RevisionRecord::still_permissive)
            .unwrap_or_default()
    }
}

/// How many revisions are remembered: enough to see a bad day, small enough to read whole at start.
pub const HISTORY: usize = 100;

/// The last accepted version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The YAML document it was accepted as.
    pub text: String,
    /// The file it came from, relative to the configuration directory.
    pub file: String,
    /// When an object of this name was first accepted; survives changes, not deletion. Decides ties.
    pub accepted_at: SystemTime,
}

/// One accepted change of configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// Grows by one.
    pub number: u64,
    /// sha256 of the accepted configuration, hex.
    pub digest: String,
    /// When.
    pub accepted_at: SystemTime,
    /// Which objects, at most 100 names.
    pub changed: Vec<String>,
    /// How many they are; `None`: an older version did not write it down.
    #[serde(default)]
    pub changed_count: Option<usize>,
    /// Where it came from.
    #[serde(default)]
    pub origin: Origin,
    /// Whose command it was, as he says himself; empty when nobody said.
    #[serde(default)]
    pub author: String,
    /// Why, in his words.
    #[serde(default)]
    pub message: String,
    /// The revision that is held, whatever the source says, from this one on.
    #[serde(default)]
    pub pinned: Option<u64>,
    /// How large it is what this revision replaced; `None`: nobody kept it.
    #[serde(default)]
    pub replaced_bytes: Option<u64>,
    /// Services that run `Permissive` in it although they are written `Strict`, because somebody calls them in plaintext:
    /// `namespace/name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub still_permissive: BTreeMap<String, Wait>,
}

impl RevisionRecord {
    /// Services that run `Permissive` in it although they are written `Strict`.
    pub fn still_permissive(&self) -> BTreeMap<ServiceName, Wait> {
        let all = self.still_permissive.iter();
        all.filter_map(|(name, wait)| Some((name.parse().ok()?, *wait)))
            .collect()
    }

    /// Whether it may have changed objects that it does not name.
    pub fn names_some_only(&self) -> bool {
        match self.changed_count {
            Some(count) => count > self.changed.len(),
            None => self.changed.len() >= CHANGED_MAX,
        }
    }
}

/// Why a mode waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    /// Somebody called in plaintext, as was known then.
    Called,
    /// Whoever decided had just started, and knew nobody yet.
    Unknown,
}

/// How many objects a record names.
pub const CHANGED_MAX: usize = 100;

/// Where a revision came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// An older version did not write it down.
    #[default]
    Unknown,
    /// The watched directory.
    Directory,
    /// The API server of a Kubernetes cluster.
    Cluster,
    /// `usher apply`.
    Apply,
    /// `usher rollback` to this revision.
    Rollback(u64),
    /// `usher rollback --release`: what follows is the source's again.
    Release,
}

/// A change, applied whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The new revision; its number is the stored one plus 1.
    pub revision: RevisionRecord,
    /// New and changed objects.
    pub accepted: BTreeMap<ObjectKey, StoredObject>,
    /// Deleted objects.
    pub deleted: Vec<ObjectKey>,
    /// All AccessPolicies that never were valid, old and new.
    pub denied: BTreeMap<ObjectKey, Denied>,
    /// All virtual addresses, old and new.
    pub addresses: BTreeMap<ServiceName, IpAddr>,
    /// Since when services are gone that still have an address.
    pub deleted_services: BTreeMap<ServiceName, SystemTime>,
    /// What the revision takes the place of.
    pub replaced: Replaced,
    /// What revisions before this one replaced is forgotten.
    pub replaced_from: u64,
}

/// Durable memory of accepted configuration. Calls block on the disk: not for async tasks.
pub trait Store: Send + Sync + 'static {
    /// Everything.
    ///
    /// # Errors
    /// The storage cannot be read, or holds what this version does not understand.
    fn load(&self) -> Result<Stored, StoreError>;

    /// Applies a change durably before it returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if somebody else committed meanwhile; otherwise the storage failed. Nothing was
    /// changed in either case, but for [`Unanswered`](super::shared::SharedError::Unanswered): it may have been.
    fn commit(&self, commit: &Commit) -> Result<(), StoreError>;

    /// What a revision replaced; nothing, if that is forgotten.
    ///
    /// # Errors
    /// As [`Self::load`].
    fn replaced(&self, number: u64) -> Result<Replaced, StoreError>;

    /// Fixes the trust domain, once.
    ///
    /// # Errors
    /// The storage failed.
    fn set_trust_domain(&self, domain: &TrustDomain) -> Result<(), StoreError>;

    /// All of one moment, for a backup; `None`: the store makes backups by other means, or nobody wants one of it.
    ///
    /// # Errors
    /// As [`Self::load`].
    fn tables(&self) -> Result<Option<Tables>, StoreError> {
        Ok(None)
    }
}

impl<S: Store> Store for Arc<S> {
    fn load(&self) -> Result<Stored, StoreError> {
        (**self).load()
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        (**self).commit(commit)
    }

    fn replaced(&self, number: u64) -> Result<Replaced, StoreError> {
        (**self).replaced(number)
    }

    fn set_trust_domain(&self, domain: &TrustDomain) -> Result<(), StoreError> {
        (**self).set_trust_domain(domain)
    }

    fn tables(&self) -> Result<Option<Tables>, StoreError> {
        (**self).tables()
    }
}

impl StoreError {
    /// [`Self::NotUnderstood`], of these objects; `None`: there are none.
    pub(crate) fn not_understood(objects: &[ObjectKey]) -> Option<Self> {
        const NAMED_MAX: usize = 5;
        let named = objects.iter().take(NAMED_MAX).map(ToString::to_string);
        let mut names = named.collect::<Vec<_>>().join(", ");
        if let Some(more @ 1..) = objects.len().checked_sub(NAMED_MAX) {
            names = format!("{names} and {more} more");
        }
        (!objects.is_empty()).then_some(Self::NotUnderstood { objects: names })
    }
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote first: load again and decide again.
    #[error("the store holds revision {stored}, the change was made for revision {expected}")]
    Conflict {
        /// The store's newest revision.
        stored: u64,
        /// The one the change started from.
        expected: u64,
    },
    /// One control plane at a time: two would number the same revisions.
    #[error(
        "another control plane runs on {path}; see `usher status`, or give this one a --data of its own"
    )]
    InUse {
        /// The store's file.
        path: String,
    },
    /// The file cannot be opened, read or written.
    #[error("the configuration store failed; check space and permissions of the data directory")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file was written by another version, or damaged.
    #[error(
        "the configuration store holds a {what} this version cannot read; restore a backup or move it away"
    )]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another version wrote objects that this one does not understand. Without them the rest would mean something
    /// else: less access control.
    #[error(
        "the configuration store holds {objects}, which this version cannot read: run the version that wrote it, and \
         change or delete it there before an older one is started"
    )]
    NotUnderstood {
        /// Their names; not all, if there are many.
        objects: String,
    },
    /// A store that several control planes share.
    #[error(transparent)]
    Shared(#[from] super::shared::SharedError),
}
