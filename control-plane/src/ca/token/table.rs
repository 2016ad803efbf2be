//! Where tokens are kept: in a file of one control plane, or where all of a mesh's control planes keep them.

use std::{collections::BTreeMap, path::Path};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use serde::{Deserialize, Serialize};

use super::{Refusal, TOKENS_MAX};
use crate::database;

const TOKENS: redb::TableDefinition<'static, &str, &[u8]> = redb::TableDefinition::new("tokens");

/// What is kept of a token. Not the secret, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    pub(super) secret_sha256: String,
    pub(super) namespace: String,
    pub(super) service_account: String,
    /// Unix time, seconds.
    pub expires_at: u64,
    pub(super) uses_left: Option<u32>,
}

/// The table failed: nothing is known about the token.
#[derive(Debug, thiserror::Error)]
#[error("the tokens cannot be read or written now")]
pub struct TableError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Judges what is kept of a token, and says what shall be kept instead. May be asked again when somebody else was faster.
pub type Change<'a> = &'a mut dyn FnMut(Option<Record>) -> Result<Record, Refusal>;

/// Tokens by their id. Calls wait for a disk or for others: not for an async task.
pub trait TokenTable: Send + Sync {
    /// Keeps a token until it expires; `false`: there are [`TOKENS_MAX`] already. `now` is Unix time in seconds.
    ///
    /// # Errors
    /// The table failed.
    fn insert(&self, id: &str, record: &Record, now: u64) -> Result<bool, TableError>;

    /// Replaces what is kept, durably, and in one step for everybody: two who use one token at once are two uses.
    ///
    /// # Errors
    /// `change` refuses, or the table failed; what is kept stays.
    fn change(&self, id: &str, change: Change<'_>) -> Result<(), Refusal>;

    /// How many are kept, expired ones not yet forgotten included.
    ///
    /// # Errors
    /// The table failed.
    fn count(&self) -> Result<u64, TableError>;

    /// All of one moment, by their ids, for a backup; `None`: the table makes backups by other means.
    ///
    /// # Errors
    /// The table failed.
    fn records(&self) -> Result<Option<BTreeMap<String, Record>>, TableError> {
        Ok(None)
    }
}

/// One redb file.
pub(super) struct FileTable(Database);

impl FileTable {
    pub(super) fn open(path: &Path) -> Result<Self, redb::Error> {
        let database = database::open(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(TOKENS)?;
        transaction.commit()?;
        Ok(Self(database))
    }

    /// Makes a new file of them.
    pub(super) fn make(path: &Path, records: &BTreeMap<String, Record>) -> Result<(), redb::Error> {
        let transaction = Self::open(path)?.0.begin_write()?;
        {
            let mut table = transaction.open_table(TOKENS)?;
            for (id, record) in records {
                table.insert(id.as_str(), encode(record).as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn records_now(&self) -> Result<BTreeMap<String, Record>, redb::Error> {
        let table = self.0.begin_read()?.open_table(TOKENS)?;
        let mut records = BTreeMap::new();
        for entry in table.iter()? {
            let (id, value) = entry?;
            if let Some(record) = decode(value.value()) {
                records.insert(id.value().to_owned(), record);
            }
        }
        Ok(records)
    }

    fn insert_now(&self, id: &str, record: &Record, now: u64) -> Result<bool, redb::Error> {
        let transaction = self.0.begin_write()?;
        let fits = {
            let mut table = transaction.open_table(TOKENS)?;
            table.retain(|_, value| decode(value).is_some_and(|record| record.expires_at > now))?;
            let fits = table.len()? < TOKENS_MAX;
            if fits {
                table.insert(id, encode(record).as_slice())?;
            }
            fits
        };
        transaction.commit()?;
        Ok(fits)
    }

    fn change_now(&self, id: &str, change: Change<'_>) -> Result<Result<(), Refusal>, redb::Error> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(TOKENS)?;
            let found = table.get(id)?.and_then(|value| decode(value.value()));
            match change(found) {
                Ok(record) => drop(table.insert(id, encode(&record).as_slice())?),
                // The transaction is dropped, hence aborted.
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        transaction.commit()?;
        Ok(Ok(()))
    }
}

impl TokenTable for FileTable {
    fn insert(&self, id: &str, record: &Record, now: u64) -> Result<bool, TableError> {
        self.insert_now(id, record, now).map_err(failed)
    }

    fn change(&self, id: &str, change: Change<'_>) -> Result<(), Refusal> {
        self.change_now(id, change).map_err(failed)?
    }

    fn count(&self) -> Result<u64, TableError> {
        let count = || Ok(self.0.begin_read()?.open_table(TOKENS)?.len()?);
        count().map_err(|error: redb::Error| failed(error))
    }

    fn records(&self) -> Result<Option<BTreeMap<String, Record>>, TableError> {
        self.records_now().map(Some).map_err(failed)
    }
}

fn failed(error: redb::Error) -> TableError {
    TableError(Box::new(error))
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(bytes).ok()
}
