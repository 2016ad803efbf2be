//! `usher backup`: all that a control plane with a store of its own has to keep, in one file that checks itself.
//!
//! A line that names the format, one JSON document, a line with the SHA-256 of all before it: a cut, a flipped bit or a
//! half copied file is refused before anything is believed. It is no signature: who may write the file may write another.
//! Private keys are left out unless they are asked for, because a file that has them is worth as much as the mesh.

mod files;
mod keys;
mod restore;

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    ca::{
        authority::pin_of,
        token::{Record, TableError, TokenStore},
    },
    registry::{StoreError, Tables},
    state::State,
};

pub use files::Keys;
pub use keys::{Missing, missing_keys};
pub use restore::{Existing, RestoreError, Restored, restore};

const FIRST_LINE: &[u8] = b"usher backup\n";
const LAST_LINE: &str = "\nsha256 ";
/// Hexadecimal.
const DIGEST_BYTES: usize = 64;

/// Grows when an older version must not read it.
const FORMAT: u32 = 1;

/// What a control plane has to keep. No `Debug`: it may hold private keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backup {
    format: u32,
    /// The version that made it.
    pub usher: String,
    /// RFC 3339.
    pub made_at: String,
    /// What the mesh's certificates carry.
    pub trust_domain: String,
    /// The newest revision.
    pub revision: u64,
    /// Whether the mesh's private keys are in it.
    pub keys: Keys,
    /// The root that signed then, by the SHA-256 of its public key; `None`: an older version made the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The version of the roots then; `None`: an older version made the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots_version: Option<u64>,
    /// The configuration, its history, virtual addresses.
    pub store: Tables,
    /// Join tokens, hashed, by their ids.
    pub tokens: BTreeMap<String, Record>,
    /// Base64 by path below the data directory.
    files: BTreeMap<String, String>,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is somebody else's to make.
    #[error("the store of this control plane makes its backups by its own means")]
    NotOurs,
    /// No certificate was ever signed.
    #[error("this control plane has no trust domain yet")]
    NoTrustDomain,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tokens.
    #[error(transparent)]
    Tokens(#[from] TableError),
    /// Files of the data directory.
    #[error("cannot read the files of the data directory")]
    Files(#[source] io::Error),
}

/// Why a file is not taken for a backup.
#[derive(Debug, thiserror::Error)]
pub enum NotWhole {
    /// Another file.
    #[error("it is no backup of usher: the first line of one is `usher backup`")]
    NoBackup,
    /// Cut off, or changed.
    #[error(
        "it is cut off or was changed: its last line is not the SHA-256 of what is before it; take another copy"
    )]
    Damaged,
    /// A newer version wrote it.
    #[error(
        "it has format {found} and was made by usher {usher}; this one reads format {FORMAT}: use that usher"
    )]
    Format {
        /// Its format.
        found: u32,
        /// Its maker.
        usher: String,
    },
    /// Whole, and yet not what it should be.
    #[error("it is whole, but this usher cannot read it")]
    Unreadable(#[source] serde_json::Error),
    /// Whole, and yet it contradicts itself.
    #[error("it says {said}, and its store holds {held}")]
    Contradiction {
        /// At its beginning.
        said: String,
        /// Further down.
        held: String,
    },
}

impl Backup {
    /// Of a control plane that runs, as of `now`. Blocks on the disk. Commits go on meanwhile: the store is read as it was
    /// at one moment; tokens are read after it, so one that is used meanwhile counts as used.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn make(
        (state, tokens): (&State, &TokenStore),
        data: &std::path::Path,
        keys: Keys,
        now: OffsetDateTime,
    ) -> Result<Self, BackupError> {
        let store = state.tables()?.ok_or(BackupError::NotOurs)?;
        let trust_domain = store.trust_domain().ok_or(BackupError::NoTrustDomain)?;
        let signing = state.active_root();
        Ok(Self {
            format: FORMAT,
            usher: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: now.format(&Rfc3339).unwrap_or_default(),
            trust_domain: trust_domain.to_owned(),
            revision: store.number(),
            keys,
            root: signing.as_ref().and_then(|(root, _)| pin_of(root)),
            roots_version: signing.map(|(_, version)| version),
            tokens: tokens.records()?.ok_or(BackupError::NotOurs)?,
            files: files::read(data, keys).map_err(BackupError::Files)?,
            store,
        })
    }

    /// As a file.
    ///
    /// # Errors
    /// None in practice: every part has a text form.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = FIRST_LINE.to_vec();
        serde_json::to_writer(&mut bytes, self)?;
        let digest = digest(&bytes);
        bytes.extend_from_slice(format!("{LAST_LINE}{digest}\n").as_bytes());
        Ok(bytes)
    }

    /// Reads a file back.
    ///
    /// # Errors
    /// [`NotWhole`]: nothing of it is to be believed.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotWhole> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            #[serde(default)]
            usher: String,
        }

        let json = whole(bytes)?;
        let head: Head = serde_json::from_slice(json).map_err(NotWhole::Unreadable)?;
        if head.format != FORMAT {
            let (found, usher) = (head.format, head.usher);
            return Err(NotWhole::Format { found, usher });
        }
        let backup: Self = serde_json::from_slice(json).map_err(NotWhole::Unreadable)?;
        let said = (backup.revision, Some(backup.trust_domain.as_str()));
        let held = (backup.store.number(), backup.store.trust_domain());
        if said != held {
            let shown = |(revision, domain): (u64, Option<&str>)| {
                format!("revision {revision} of {}", domain.unwrap_or("no mesh"))
            };
            let (said, held) = (shown(said), shown(held));
            return Err(NotWhole::Contradiction { said, held });
        }
        Ok(backup)
    }
}

/// The document of a file that is as it was written.
fn whole(bytes: &[u8]) -> Result<&[u8], NotWhole> {
    let is_cut = FIRST_LINE.starts_with(bytes);
    let rest = bytes.strip_prefix(FIRST_LINE).ok_or(match is_cut {
        true => NotWhole::Damaged,
        false => NotWhole::NoBackup,
    })?;
    let last = LAST_LINE.len() + DIGEST_BYTES + 1;
    let split = rest.len().checked_sub(last).ok_or(NotWhole::Damaged)?;
    let (json, said) = rest.split_at(split);
    let (before, _) = bytes.split_at(FIRST_LINE.len() + split);
    match format!("{LAST_LINE}{}\n", digest(before)).as_bytes() == said {
        true => Ok(json),
        false => Err(NotWhole::Damaged),
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
