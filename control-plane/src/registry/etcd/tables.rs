//! [`Stored`] as keys and values, and a [`Commit`] as changes of them. Pure.
//!
//! The same tables as the embedded store's, of the same JSON under the same readable names: what one of them holds can be
//! compared with the other by eye.

use std::{collections::BTreeMap, fmt::Display};

use serde::{Deserialize, Serialize};
use usher_config::value::ServiceName;

use super::batch::Changes;
use crate::registry::{
    StoreError,
    embedded::{object_key, parsed, read, unreadable, written},
    store::{Commit, HISTORY, RevisionRecord, Stored},
};

/// Below which all tables are.
pub(super) const CONFIGURATION: &str = "configuration";

const OBJECTS: &str = "configuration/objects/";
const DENIED: &str = "configuration/denied/";
const ADDRESSES: &str = "configuration/virtual_addresses/";
const DELETED: &str = "configuration/deleted_services/";
const REVISIONS: &str = "configuration/revisions/";
/// Beside the tables: nobody needs it to start.
pub(super) const REPLACED: &str = "replaced/";

/// The tables that a commit brings whole: what they hold has to be known to see what changes.
pub(super) const WHOLE: [&str; 3] = [DENIED, ADDRESSES, DELETED];

/// Keys, without the mesh's prefix, and their values.
pub(super) type Entries = BTreeMap<String, Vec<u8>>;

/// A revision as it is stored.
#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    record: &'a RevisionRecord,
    /// The attempt that made it, as in its [pointer](super::batch::Pointer): who was not told finds it here when the
    /// pointer has moved on.
    commit: &'a str,
}

/// By which attempt a stored revision was made; `None`: an older version did not write it down.
pub(super) fn commit_of(revision: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Made {
        commit: String,
    }
    let made = serde_json::from_slice::<Made>(revision).ok()?;
    Some(made.commit)
}

/// What a commit changes by an attempt of that name, given what the tables [`WHOLE`] hold, and what is forgotten.
pub(super) fn changes(
    (commit, attempt): (&Commit, &str),
    whole: &Entries,
) -> Result<Changes, StoreError> {
    let mut changes = Changes::new();
    let mut wanted = BTreeMap::new();
    put_all(&mut wanted, DENIED, &commit.denied)?;
    put_all(&mut wanted, ADDRESSES, &commit.addresses)?;
    put_all(&mut wanted, DELETED, &commit.deleted_services)?;
    for key in whole.keys().filter(|key| !wanted.contains_key(*key)) {
        changes.insert(key.clone(), None);
    }
    for (key, value) in wanted {
        if whole.get(&key).map(Vec::as_slice) != Some(value.as_bytes()) {
            changes.insert(key, Some(value));
        }
    }
    for (key, value) in commit.replaced.entries(commit.revision.number)? {
        let value = String::from_utf8(value).map_err(|error| unreadable("value", error))?;
        changes.insert(format!("{REPLACED}{key}"), Some(value));
    }
    for name in &commit.deleted {
        changes.insert(format!("{OBJECTS}{name}"), None);
    }
    for (name, object) in &commit.accepted {
        changes.insert(format!("{OBJECTS}{name}"), Some(text(object)?));
    }
    let number = commit.revision.number;
    let made = Made {
        record: &commit.revision,
        commit: attempt,
    };
    changes.insert(revision(number), Some(text(&made)?));
    let kept = u64::try_from(HISTORY).unwrap_or(u64::MAX);
    if let Some(forgotten) = number.checked_sub(kept).filter(|number| *number > 0) {
        changes.insert(revision(forgotten), None);
    }
    Ok(changes)
}

/// Puts changes over entries.
pub(super) fn apply(entries: &mut Entries, changes: Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(entries.insert(key, value.into_bytes())),
            None => drop(entries.remove(&key)),
        }
    }
}

/// What all entries together mean.
pub(super) fn stored(entries: &Entries) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    for (key, value) in entries {
        if let Some(name) = key.strip_prefix(OBJECTS) {
            let name = object_key(name).map_err(|error| unreadable("object name", error))?;
            stored.objects.insert(name, read("object", value)?);
        } else if let Some(name) = key.strip_prefix(DENIED) {
            let name = object_key(name).map_err(|error| unreadable("object name", error))?;
            let denied = read("policy that never was valid", value)?;
            stored.denied.insert(name, denied);
        } else if let Some(name) = key.strip_prefix(ADDRESSES) {
            let service: ServiceName = parsed("service name", name)?;
            let address = read("virtual address", value)?;
            stored.addresses.insert(service, address);
        } else if let Some(name) = key.strip_prefix(DELETED) {
            let service: ServiceName = parsed("service name", name)?;
            let since = read("time of a deletion", value)?;
            stored.deleted.insert(service, since);
        } else if key.starts_with(REVISIONS) {
            let record: RevisionRecord = read("revision", value)?;
            stored.revisions.push(record);
        }
    }
    Ok(stored)
}

/// Digits enough that names sort as numbers do.
pub(super) fn revision(number: u64) -> String {
    format!("{REVISIONS}{number:020}")
}

fn put_all<K: Display, V: Serialize>(
    wanted: &mut BTreeMap<String, String>,
    table: &str,
    entries: &BTreeMap<K, V>,
) -> Result<(), StoreError> {
    for (key, value) in entries {
        wanted.insert(format!("{table}{key}"), text(value)?);
    }
    Ok(())
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    String::from_utf8(written(value)?).map_err(|error| unreadable("value", error))
}
