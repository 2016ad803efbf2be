//! Files and directories that only their owner may read: keys, tokens, stores, the operator socket.
//!
//! Everything secret is made with its final mode, never tightened afterwards: there is no moment in which
//! another user could open it. Writes go to a temporary name, are synced, and renamed.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Makes a directory, and its parents, with mode 0700; one that exists keeps the mode its owner chose.
///
/// # Errors
/// The directory cannot be made, or the path is something else.
pub fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes an empty file with mode 0600 if there is none, for a store that would make its own for all to read.
///
/// # Errors
/// The directory cannot be written.
pub fn private_file(path: &Path) -> io::Result<()> {
    fs::File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Replaces a file as a whole, with mode 0600: readers see the old or the new content, never a part.
///
/// # Errors
/// The directory cannot be written, or the disk is full.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, 0o600)
}

/// Replaces a file as a whole, with mode 0644: for what others may read, such as addresses.
///
/// # Errors
/// The directory cannot be written, or the disk is full.
pub fn write_shared(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, 0o644)
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename is only durable once the directory is: a key must not vanish after its certificate was used.
    fs::File::open(directory)?.sync_all()
}

/// Reads a secret, and refuses one that others could have read too.
///
/// # Errors
/// `PermissionDenied`, with what to do, if group or others have any access; else what reading reports.
pub fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        let advice = format!(
            "{} is accessible to other users (mode {:o}): run `chmod 600` on it, and replace the secret if \
             others may have read it",
            path.display(),
            mode & 0o777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, advice));
    }
    fs::read(path)
}
