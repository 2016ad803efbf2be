//! The data directory's redb files: private, and with a bounded page cache.
//!
//! redb's own bound is 1 GiB: every page that was ever written would stay in memory, so that a control plane seemed to
//! grow with each revision until its file was there twice.

use std::path::Path;

use redb::{Builder, Database, DatabaseError, StorageError};

use crate::private_files::private_file;

/// Pages of one file kept in memory, in bytes. A revision writes the pages of what changed; everything is read only
/// once, at start.
const CACHE_BYTES: usize = 1 << 20;

/// Opens a file, or makes it with mode 0600; its directory must keep others out.
///
/// # Errors
/// It is another program's, damaged, or in use by another control plane.
pub fn open(path: &Path) -> Result<Database, DatabaseError> {
    private_file(path).map_err(StorageError::Io)?;
    builder().create(path)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

#[cfg(test)]
mod tests;
