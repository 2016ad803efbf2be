//! `usher restore`: a data directory of a backup. Never over one that is there.

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Backup, Keys,
    files::{self, AUTHORITY},
    keys::{self, KEYS_MISSING},
};
use crate::{
    ca::token::{self, TokenStore},
    private_files::private_directory,
    registry::{EmbeddedStore, Store as _, StoreError},
    state::{KEYS_FOLDER, STORE_FILE},
};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where what was there before has gone.
    pub aside: Option<PathBuf>,
}

/// Why it was not done. What was there is where it was, or is named.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something is there.
    #[error(
        "the data directory {} is not empty: give a new one (--data DIR), or move this one aside with --force",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// Somebody works with it.
    #[error("a control plane runs on the data directory {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// What is there is of another mesh.
    #[error(
        "the data directory {} is of the mesh {there}, the backup is of {asked}: give another directory, or move this \
         one away by hand", data.display()
    )]
    OtherMesh {
        /// Which directory.
        data: PathBuf,
        /// Whose.
        there: String,
        /// The backup's.
        asked: String,
    },
    /// A file or directory.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store's file.
    #[error("cannot make the configuration store of it")]
    Store(#[from] StoreError),
    /// The tokens' file.
    #[error("cannot make the token file of it")]
    Tokens(#[source] redb::Error),
}

/// What to do with a data directory that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Keep,
    /// Move it aside.
    MoveAside,
}

/// Makes a data directory of a backup: whole, or, but for a power cut in its last moment, not at all.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(
    backup: &Backup,
    data: &Path,
    existing: Existing,
    now: SystemTime,
) -> Result<Restored, RestoreError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |source| RestoreError::File { path, source }
    };
    let is_new = is_empty(data).map_err(at(data))?;
    if !is_new && existing == Existing::Keep {
        return Err(RestoreError::NotEmpty(data.to_owned()));
    }
    // All of it is written before anything that is there is touched: a full disk is found out in time.
    let beside = match data.parent() {
        _ if is_new => data,
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent.unwrap_or(data),
    };
    if is_new {
        private_directory(data).map_err(at(data))?;
    } else {
        is_free(data, &backup.trust_domain)?;
    }
    let stage = tempfile::Builder::new()
        .prefix(".restoring-")
        .tempdir_in(beside);
    let stage = stage.map_err(at(beside))?;
    write_all(backup, stage.path())?;
    let aside = match is_new {
        true => None,
        false => Some(moved_aside(data, now).map_err(at(data))?),
    };
    private_directory(data).map_err(at(data))?;
    // The store last: where it is, all is.
    for name in [
        KEYS_MISSING,
        AUTHORITY,
        KEYS_FOLDER,
        token::FILE,
        STORE_FILE,
    ] {
        let (from, to) = (stage.path().join(name), data.join(name));
        if from.exists() {
            fs::rename(from, &to).map_err(at(&to))?;
        }
    }
    let synced = fs::File::open(data).and_then(|directory| directory.sync_all());
    synced.map_err(at(data))?;
    Ok(Restored { aside })
}

fn write_all(backup: &Backup, stage: &Path) -> Result<(), RestoreError> {
    let at = |source| {
        let path = stage.to_owned();
        RestoreError::File { path, source }
    };
    files::write(stage, &backup.files).map_err(at)?;
    if backup.keys == Keys::LeftOut {
        keys::expect(stage, backup).map_err(at)?;
    }
    TokenStore::make(&stage.join(token::FILE), &backup.tokens).map_err(RestoreError::Tokens)?;
    EmbeddedStore::make(&stage.join(STORE_FILE), &backup.store)?;
    Ok(())
}

pub(super) fn is_empty(directory: &Path) -> io::Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether nobody works with a data directory, and it is of this mesh as far as one can see: it may be damaged.
fn is_free(data: &Path, trust_domain: &str) -> Result<(), RestoreError> {
    if UnixStream::connect(data.join("operator.sock")).is_ok() {
        return Err(RestoreError::InUse(data.to_owned()));
    }
    let store = data.join(STORE_FILE);
    if !store.exists() {
        return Ok(());
    }
    let stored = match EmbeddedStore::open(&store).and_then(|store| store.load()) {
        Err(StoreError::InUse { .. }) => return Err(RestoreError::InUse(data.to_owned())),
        Err(_) => return Ok(()),
        Ok(stored) => stored,
    };
    match stored.trust_domain {
        Some(there) if there.as_str() != trust_domain => Err(RestoreError::OtherMesh {
            data: data.to_owned(),
            there: there.to_string(),
            asked: trust_domain.to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn moved_aside(data: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let name = data.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut name = name.to_owned();
    name.push(format!(".before-restore-{}", since_1970.as_millis()));
    let aside = data.with_file_name(name);
    fs::rename(data, &aside)?;
    Ok(aside)
}
