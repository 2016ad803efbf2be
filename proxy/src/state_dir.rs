//! The sidecar's own directory: what must survive a restart, readable by its owner only.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use usher_config::value::Name;

/// A directory with mode 0700.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Makes the directory where it is missing, and closes it to others.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        Ok(Self(path.to_owned()))
    }

    /// Where a file of this name is kept.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file's bytes; `None`: there is no such file.
    ///
    /// # Errors
    /// Whatever else the operating system says.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file as a whole, mode 0600, on disk before its name points to it: after a crash there is the old
    /// file or the new one.
    ///
    /// # Errors
    /// Whatever the operating system says; the old file is then still there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.file(&format!(".{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(temporary, self.file(name))
    }

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// Whatever else the operating system says.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// This instance's name when nobody chose one: random, the same after every restart.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn instance(&self) -> io::Result<Name> {
        const FILE: &str = "instance";
        let kept = self
            .read(FILE)?
            .and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(Ok(name)) = kept.map(|text| text.trim().parse()) {
            return Ok(name);
        }
        let text = format!("i{:016x}", fastrand::u64(..));
        let name = text
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.write(FILE, text.as_bytes())?;
        Ok(name)
    }
}
