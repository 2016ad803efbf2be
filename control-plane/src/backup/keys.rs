//! Whether the mesh's keys are back in a data directory that was restored without them, and are those that belong there.
//!
//! An old copy of `ca/` says that an old root signs, and would sign under it from the first moment on, without a word: sidecars
//! that know only newer roots are cut off, and a root comes back that was taken away because its key was stolen. So the backup
//! says which root signed, and of which version the roots were, and a `ca/` has to have heard of both: one that was copied while
//! the stolen root was retiring knows the root that signed, and still trusts the stolen one.

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
/// root that signed, and below that the version of the roots.
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
    /// A copy of `ca/` with newer roots: by what is there the root signed, but others may be trusted that are not any more.
    NewerRoots {
        /// Their version when the backup was made.
        wanted: u64,
        /// Their version by what is there.
        found: u64,
    },
}

/// Notes in a data directory what is missing in it.
pub(super) fn expect(data: &Path, backup: &Backup) -> io::Result<()> {
    let root = backup.root.as_deref().unwrap_or_default();
    let version = backup.roots_version.map(|version| version.to_string());
    let version = version.unwrap_or_default();
    let text = format!("{}\n{root}\n{version}\n", backup.trust_domain);
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
    let mut noted = text.lines().skip(1);
    let signed = noted.next().filter(|root| !root.is_empty());
    let version = noted.next().and_then(|version| version.parse().ok());
    if signed.is_some() || version.is_some() {
        let roots = roots_in(&authority)?;
        if let Some(missing) = newer_than(roots.as_ref(), signed, version) {
            return Ok(Some(missing));
        }
    }
    fs::remove_file(&marker).map_err(file(&marker))?;
    Ok(None)
}

/// What is missing where there are these roots: the backup says which root signed, and of which version all were, as far as
/// whoever made it could.
fn newer_than(
    roots: Option<&RootSet>,
    signed: Option<&str>,
    version: Option<u64>,
) -> Option<Missing> {
    if let Some(wanted) = signed
        && !roots.is_some_and(|roots| has_signed(roots, wanted))
    {
        let active = roots.and_then(RootSet::active);
        return Some(Missing::Newer {
            wanted: short(wanted),
            found: active.map_or_else(|| "nobody".to_owned(), |root| short(&root.pin)),
        });
    }
    let found = roots.map_or(0, |roots| roots.version);
    let wanted = version.filter(|wanted| found < *wanted)?;
    Some(Missing::NewerRoots { wanted, found })
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
