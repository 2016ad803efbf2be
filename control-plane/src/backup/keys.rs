//! Whether the mesh's keys are back in a data directory that was restored without them, and are those that belong there.
//!
//! An old copy of `ca/` says that an old root signs, and would sign under it from the first moment on, without a word: sidecars
//! that know only newer roots are cut off, and a root comes back that was taken away because its key was stolen. So the backup
//! says which root signed, and a `ca/` has to have heard of that.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Backup, files::AUTHORITY, restore::is_empty};
use crate::{
    ca::{
        authority::{AuthorityError, roots_in},
        roots::{Phase, RootSet, short},
    },
    private_files::write_private,
};

/// In a data directory that was restored without the mesh's keys, until they are there: the trust domain, and below it the
/// root that signed.
pub(super) const KEYS_MISSING: &str = "keys-missing";

/// What has to be put into a data directory first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// All of `ca/`.
    All,
    /// A newer copy of `ca/`.
    Newer {
        /// The root that signed when the backup was made, shortened.
        wanted: String,
        /// The one that signs by what is there, or `nobody`.
        found: String,
    },
}

/// Notes in a data directory what is missing in it.
pub(super) fn expect(data: &Path, backup: &Backup) -> io::Result<()> {
    let root = backup.root.as_deref().unwrap_or_default();
    let text = format!("{}\n{root}\n", backup.trust_domain);
    write_private(&data.join(KEYS_MISSING), text.as_bytes())
}

/// What of the mesh's keys has still to be put into a data directory that was restored without them. Once they are there,
/// nobody asks again.
///
/// # Errors
/// The directory, or what is in it, cannot be read or written.
pub fn missing_keys(data: &Path) -> Result<Option<Missing>, AuthorityError> {
    let marker = data.join(KEYS_MISSING);
    let text = match fs::read_to_string(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(file(&marker))?,
    };
    let authority = data.join(AUTHORITY);
    if is_empty(&authority).map_err(file(&authority))? {
        return Ok(Some(Missing::All));
    }
    if let Some(wanted) = text.lines().nth(1).filter(|root| !root.is_empty()) {
        let roots = roots_in(&authority)?;
        if !roots
            .as_ref()
            .is_some_and(|roots| has_signed(roots, wanted))
        {
            let active = roots.as_ref().and_then(RootSet::active);
            return Ok(Some(Missing::Newer {
                wanted: short(wanted),
                found: active.map_or_else(|| "nobody".to_owned(), |root| short(&root.pin)),
            }));
        }
    }
    fs::remove_file(&marker).map_err(file(&marker))?;
    Ok(None)
}

/// Whether the root signs, or did: then they are as new as the backup, or newer.
fn has_signed(roots: &RootSet, pin: &str) -> bool {
    roots
        .get(pin)
        .map_or(roots.knows(pin), |root| root.phase != Phase::Adding)
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path: PathBuf = path.to_owned();
    |source| AuthorityError::File { path, source }
}

#[cfg(test)]
mod tests;
