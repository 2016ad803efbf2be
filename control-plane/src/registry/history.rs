//! Earlier configurations, from what each revision took the place of. Pure.
//!
//! The store keeps the newest configuration whole and of each revision only what it replaced: a change of one object in a
//! mesh of thousands costs one object. Going back is laying what was replaced over the newest, revision by revision.

use std::collections::BTreeMap;

use usher_config::kind::ObjectKey;

use super::{
    Denied, StoreError,
    embedded::{object_key, read, unreadable, written},
    store::{RevisionRecord, StoredObject},
};

/// How much of what was replaced is kept, in bytes of text: a hundred edits of a large mesh's largest files.
pub const REPLACED_BYTES_MAX: u64 = 64 << 20;

/// What a revision took the place of: enough to undo it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replaced {
    /// Objects that it changed or deleted, as they were before; `None`: it added them.
    pub objects: BTreeMap<ObjectKey, Option<StoredObject>>,
    /// All AccessPolicies that never were valid, before it.
    pub denied: BTreeMap<ObjectKey, Denied>,
}

/// A configuration as it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Earlier {
    /// Objects by name.
    pub objects: BTreeMap<ObjectKey, StoredObject>,
    /// AccessPolicies that never were valid.
    pub denied: BTreeMap<ObjectKey, Denied>,
}

impl Earlier {
    /// The same before the revision that replaced this.
    pub fn undo(&mut self, replaced: Replaced) {
        for (key, before) in replaced.objects {
            match before {
                Some(object) => drop(self.objects.insert(key, object)),
                None => drop(self.objects.remove(&key)),
            }
        }
        self.denied = replaced.denied;
    }
}

impl Replaced {
    /// How much of it counts against [`REPLACED_BYTES_MAX`].
    pub fn bytes(&self) -> u64 {
        let objects = self.objects.values().flatten();
        let texts: usize = objects.map(|object| object.text.len()).sum();
        u64::try_from(texts).unwrap_or(u64::MAX)
    }

    /// Keys and values by which stores keep it, each object by itself: an etcd value holds a megabyte.
    ///
    /// # Errors
    /// None in practice: every part has a text form.
    pub(super) fn entries(&self, number: u64) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let begin = prefix(number);
        let mut entries = BTreeMap::new();
        for (key, before) in &self.objects {
            entries.insert(format!("{begin}{OBJECTS}{key}"), written(before)?);
        }
        for (key, denied) in &self.denied {
            entries.insert(format!("{begin}{DENIED}{key}"), written(denied)?);
        }
        Ok(entries)
    }

    /// Reads back [`Self::entries`].
    ///
    /// # Errors
    /// Another version wrote them.
    pub(super) fn of_entries<'e>(
        entries: impl Iterator<Item = (&'e str, &'e [u8])>,
    ) -> Result<Self, StoreError> {
        let name = |text: &str| object_key(text).map_err(|error| unreadable("object name", error));
        let mut replaced = Self::default();
        for (key, value) in entries {
            let rest = key.split_once('/').map_or("", |(_, rest)| rest);
            if let Some(key) = rest.strip_prefix(OBJECTS) {
                let before = read("replaced object", value)?;
                replaced.objects.insert(name(key)?, before);
            } else if let Some(key) = rest.strip_prefix(DENIED) {
                let denied = read("policy that never was valid", value)?;
                replaced.denied.insert(name(key)?, denied);
            }
        }
        Ok(replaced)
    }
}

const OBJECTS: &str = "objects/";
const DENIED: &str = "denied/";

/// With which all keys of a revision begin; they sort as the numbers do.
pub(super) fn prefix(number: u64) -> String {
    format!("{number:020}/")
}

/// The oldest revision of which it is kept what it replaced, if these records are all and the last one is about to be made:
/// as many as [`REPLACED_BYTES_MAX`] has room for, the newest always.
pub fn replaced_from(records: &[RevisionRecord]) -> u64 {
    let mut sum = 0_u64;
    let mut from = records.last().map_or(0, |record| record.number);
    for record in records.iter().rev() {
        let Some(bytes) = record.replaced_bytes else {
            break;
        };
        sum = sum.saturating_add(bytes);
        if sum > REPLACED_BYTES_MAX && record.number < from {
            break;
        }
        from = record.number;
    }
    from
}

/// The oldest revision that can be gone back to.
pub fn oldest(records: &[RevisionRecord]) -> u64 {
    let newest = records.last().map_or(0, |record| record.number);
    match records.last() {
        Some(last) if last.replaced_bytes.is_some() => replaced_from(records).saturating_sub(1),
        _ => newest,
    }
}

#[cfg(test)]
mod tests;
