//! The default store: one redb file, durable with every commit.
//!
//! Seven tables of JSON values under readable keys. JSON rather than a binary form because a store that an
//! operator can dump is worth more than the bytes; a whole mesh is a few megabytes, read once at start.

use std::{collections::BTreeMap, error::Error, fmt::Display, net::IpAddr, path::Path};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use usher_config::{
    kind::{Choice, Kind, ObjectKey},
    value::{InvalidValue, ServiceName, TrustDomain},
};

use crate::database;

mod tables;

pub use tables::Tables;

use super::{
    history::{Replaced, prefix},
    store::{Commit, HISTORY, RevisionRecord, Store, StoreError, Stored, StoredObject},
};

const OBJECTS: TableDefinition<'_, &'static str, &'static [u8]> = TableDefinition::new("objects");
const DENIED: TableDefinition<'_, &'static str, &'static [u8]> = TableDefinition::new("denied");
const ADDRESSES: TableDefinition<'_, &'static str, &'static [u8]> =
    TableDefinition::new("virtual_addresses");
const DELETED: TableDefinition<'_, &'static str, &'static [u8]> =
    TableDefinition::new("deleted_services");
const REVISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("revisions");
/// By revision and object.
const REPLACED: TableDefinition<'_, &'static str, &'static [u8]> = TableDefinition::new("replaced");
const SETTINGS: TableDefinition<'_, &'static str, &'static [u8]> = TableDefinition::new("settings");
const TRUST_DOMAIN: &str = "trust_domain";

/// A file is written anew when it is opened and more than this many times as long as what it holds, ...
const LENGTH_RATIO_MAX: u64 = 4;
/// ... and longer than this, in bytes. While it is open, pages that are free are used again before it grows.
const LENGTH_MIN: u64 = 4 << 20;

/// One file. Held open, and locked, by one control plane.
#[derive(Debug)]
pub struct EmbeddedStore(Database);

impl EmbeddedStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: open in another control plane. [`StoreError::Storage`]: not permitted, or damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut store = Self(database::open(path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
                path: path.display().to_string(),
            },
            other => failed(other),
        })?);
        let transaction = store.0.begin_write().map_err(failed)?;
        // Opening a table makes it: readers need no case for a fresh file.
        transaction.open_table(OBJECTS).map_err(failed)?;
        transaction.open_table(DENIED).map_err(failed)?;
        transaction.open_table(ADDRESSES).map_err(failed)?;
        transaction.open_table(DELETED).map_err(failed)?;
        transaction.open_table(REVISIONS).map_err(failed)?;
        transaction.open_table(REPLACED).map_err(failed)?;
        transaction.open_table(SETTINGS).map_err(failed)?;
        let stats = transaction.stats().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        let held = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        let length = path.metadata().map_err(failed)?.len();
        if length > LENGTH_MIN.max(held.saturating_mul(LENGTH_RATIO_MAX)) {
            store.0.compact().map_err(failed)?;
        }
        Ok(store)
    }
}

impl Store for EmbeddedStore {
    fn load(&self) -> Result<Stored, StoreError> {
        let mut stored = Stored::default();
        let transaction = self.0.begin_read().map_err(failed)?;
        for entry in transaction
            .open_table(OBJECTS)
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (key, value) = entry.map_err(failed)?;
            let name = object_key(key.value()).map_err(|error| unreadable("object name", error))?;
            let object: StoredObject = read("object", value.value())?;
            stored.objects.insert(name, object);
        }
        for entry in transaction
            .open_table(DENIED)
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (key, value) = entry.map_err(failed)?;
            let name = object_key(key.value()).map_err(|error| unreadable("object name", error))?;
            let denied = read("policy that never was valid", value.value())?;
            stored.denied.insert(name, denied);
        }
        for entry in transaction
            .open_table(ADDRESSES)
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (key, value) = entry.map_err(failed)?;
            let service: ServiceName = parsed("service name", key.value())?;
            let address: IpAddr = read("virtual address", value.value())?;
            stored.addresses.insert(service, address);
        }
        for entry in transaction
            .open_table(DELETED)
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (key, value) = entry.map_err(failed)?;
            let service: ServiceName = parsed("service name", key.value())?;
            let since = read("time of a deletion", value.value())?;
            stored.deleted.insert(service, since);
        }
        for entry in transaction
            .open_table(REVISIONS)
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (_, value) = entry.map_err(failed)?;
            let record: RevisionRecord = read("revision", value.value())?;
            stored.revisions.push(record);
        }
        let settings = transaction.open_table(SETTINGS).map_err(failed)?;
        if let Some(value) = settings.get(TRUST_DOMAIN).map_err(failed)? {
            let text: String = read("trust domain", value.value())?;
            stored.trust_domain = Some(parsed("trust domain", &text)?);
        }
        Ok(stored)
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let expected = commit.revision.number.saturating_sub(1);
        let transaction = self.0.begin_write().map_err(failed)?;
        {
            let mut revisions = transaction.open_table(REVISIONS).map_err(failed)?;
            let newest = revisions
                .last()
                .map_err(failed)?
                .map_or(0, |(number, _)| number.value());
            if newest != expected {
                // The transaction is dropped, hence aborted.
                return Err(StoreError::Conflict {
                    stored: newest,
                    expected,
                });
            }
            let number = commit.revision.number;
            revisions
                .insert(number, written(&commit.revision)?.as_slice())
                .map_err(failed)?;
            let forgotten = number.saturating_sub(u64::try_from(HISTORY).unwrap_or(u64::MAX));
            revisions
                .retain(|number, _| number > forgotten)
                .map_err(failed)?;

            let mut objects = transaction.open_table(OBJECTS).map_err(failed)?;
            for name in &commit.deleted {
                objects.remove(name.to_string().as_str()).map_err(failed)?;
            }
            for (name, object) in &commit.accepted {
                let value = written(object)?;
                objects
                    .insert(name.to_string().as_str(), value.as_slice())
                    .map_err(failed)?;
            }
        }
        remember(&transaction, commit)?;
        replace(&transaction, DENIED, &commit.denied)?;
        replace(&transaction, ADDRESSES, &commit.addresses)?;
        replace(&transaction, DELETED, &commit.deleted_services)?;
        transaction.commit().map_err(failed)
    }

    fn replaced(&self, number: u64) -> Result<Replaced, StoreError> {
        let transaction = self.0.begin_read().map_err(failed)?;
        let table = transaction.open_table(REPLACED).map_err(failed)?;
        let (from, to) = (prefix(number), prefix(number + 1));
        let mut entries = Vec::new();
        for entry in table.range(from.as_str()..to.as_str()).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            entries.push((key.value().to_owned(), value.value().to_vec()));
        }
        let entries = entries.iter();
        Replaced::of_entries(entries.map(|(key, value)| (key.as_str(), value.as_slice())))
    }

    fn tables(&self) -> Result<Option<Tables>, StoreError> {
        self.tables_now().map(Some)
    }

    fn set_trust_domain(&self, domain: &TrustDomain) -> Result<(), StoreError> {
        let transaction = self.0.begin_write().map_err(failed)?;
        let value = written(&domain.as_str())?;
        transaction
            .open_table(SETTINGS)
            .map_err(failed)?
            .insert(TRUST_DOMAIN, value.as_slice())
            .map_err(failed)?;
        transaction.commit().map_err(failed)
    }
}

/// What a commit replaces, and forgets.
fn remember(transaction: &WriteTransaction, commit: &Commit) -> Result<(), StoreError> {
    let mut table = transaction.open_table(REPLACED).map_err(failed)?;
    let forgotten = prefix(commit.replaced_from);
    table
        .retain_in(..forgotten.as_str(), |_, _| false)
        .map_err(failed)?;
    for (key, value) in commit.replaced.entries(commit.revision.number)? {
        table
            .insert(key.as_str(), value.as_slice())
            .map_err(failed)?;
    }
    Ok(())
}

/// All of a table.
fn replace<K: Display, V: Serialize>(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, &'static str, &'static [u8]>,
    entries: &BTreeMap<K, V>,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(table).map_err(failed)?;
    table.retain(|_, _| false).map_err(failed)?;
    for (key, value) in entries {
        let value = written(value)?;
        table
            .insert(key.to_string().as_str(), value.as_slice())
            .map_err(failed)?;
    }
    Ok(())
}

fn failed(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Storage(Box::new(error))
}

pub(super) fn read<T: DeserializeOwned>(what: &'static str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| unreadable(what, error))
}

/// Reads back what `ObjectKey` writes: `Kind namespace/name`.
///
/// # Errors
/// Something else.
pub fn object_key(text: &str) -> Result<ObjectKey, InvalidValue> {
    let (word, name) = text.split_once(' ').unwrap_or_default();
    let known = Kind::ALL.iter().find(|(known, _)| *known == word);
    let (_, kind) = known.ok_or_else(|| InvalidValue::new(text, "a kind of this version"))?;
    let ServiceName { namespace, name } = name.parse()?;
    Ok(ObjectKey {
        kind: *kind,
        namespace,
        name,
    })
}

pub(super) fn parsed<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| unreadable(what, error))
}

pub(super) fn unreadable(
    what: &'static str,
    error: impl Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Unreadable {
        what,
        source: Box::new(error),
    }
}

pub(super) fn written(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(failed)
}

#[cfg(test)]
mod tests;
