//! All that the file holds, as text: what a backup is made of, and what becomes a file again.
//!
//! Values stay as they were written, also those of which this version understands less than the one that wrote them.

use std::{collections::BTreeMap, path::Path};

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ADDRESSES, DELETED, DENIED, EmbeddedStore, OBJECTS, REPLACED, REVISIONS, SETTINGS,
    TRUST_DOMAIN, failed, read, unreadable, written,
};
use crate::registry::{StoreError, store::Store as _};

/// Those with text for keys, by their names in the file.
const TEXT: [(&str, TableDefinition<'_, &'static str, &'static [u8]>); 6] = [
    ("objects", OBJECTS),
    ("denied", DENIED),
    ("virtual_addresses", ADDRESSES),
    ("deleted_services", DELETED),
    ("replaced", REPLACED),
    ("settings", SETTINGS),
];
const NUMBERED: &str = "revisions";

/// Table → key → value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tables(BTreeMap<String, BTreeMap<String, Value>>);

impl Tables {
    /// The newest revision's number; 0: there is none.
    pub fn number(&self) -> u64 {
        let revisions = self.0.get(NUMBERED).into_iter().flatten();
        let numbers = revisions.filter_map(|(key, _)| key.parse().ok());
        numbers.max().unwrap_or_default()
    }

    /// What certificates carry, if there are any.
    pub fn trust_domain(&self) -> Option<&str> {
        self.0.get("settings")?.get(TRUST_DOMAIN)?.as_str()
    }

    /// How many objects, and how many revisions.
    pub fn counts(&self) -> (usize, usize) {
        let count = |table| self.0.get(table).map_or(0, BTreeMap::len);
        (count("objects"), count(NUMBERED))
    }
}

impl EmbeddedStore {
    /// Makes a new file of them, and sees whether this version can read it.
    ///
    /// # Errors
    /// The file cannot be written, or they are another version's.
    pub fn make(path: &Path, tables: &Tables) -> Result<(), StoreError> {
        let store = Self::open(path)?;
        let transaction = store.0.begin_write().map_err(failed)?;
        for (name, entries) in &tables.0 {
            write(&transaction, name, entries)?;
        }
        transaction.commit().map_err(failed)?;
        store.load().map(drop)
    }

    /// All of one moment.
    pub(super) fn tables_now(&self) -> Result<Tables, StoreError> {
        let transaction = self.0.begin_read().map_err(failed)?;
        let mut tables = BTreeMap::new();
        for (name, definition) in TEXT {
            tables.insert(name.to_owned(), text(&transaction, definition)?);
        }
        let table = transaction.open_table(REVISIONS).map_err(failed)?;
        let mut revisions = BTreeMap::new();
        for entry in table.iter().map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            // Of one width, so that they sort as numbers do.
            revisions.insert(
                format!("{:020}", key.value()),
                read(NUMBERED, value.value())?,
            );
        }
        tables.insert(NUMBERED.to_owned(), revisions);
        Ok(Tables(tables))
    }
}

fn text(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, &'static str, &'static [u8]>,
) -> Result<BTreeMap<String, Value>, StoreError> {
    let table = transaction.open_table(definition).map_err(failed)?;
    let mut entries = BTreeMap::new();
    for entry in table.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        entries.insert(key.value().to_owned(), read("table", value.value())?);
    }
    Ok(entries)
}

fn write(
    transaction: &WriteTransaction,
    name: &str,
    entries: &BTreeMap<String, Value>,
) -> Result<(), StoreError> {
    if name == NUMBERED {
        let mut table = transaction.open_table(REVISIONS).map_err(failed)?;
        for (key, value) in entries {
            let number: u64 = key.parse().map_err(|error| unreadable("revision", error))?;
            let value = written(value)?;
            table.insert(number, value.as_slice()).map_err(failed)?;
        }
        return Ok(());
    }
    let known = TEXT.iter().find(|(known, _)| *known == name);
    let (_, definition) = known.ok_or_else(|| {
        let error = std::io::Error::other(format!("found the table `{name}`"));
        unreadable("table", error)
    })?;
    let mut table = transaction.open_table(*definition).map_err(failed)?;
    for (key, value) in entries {
        let value = written(value)?;
        table
            .insert(key.as_str(), value.as_slice())
            .map_err(failed)?;
    }
    Ok(())
}
