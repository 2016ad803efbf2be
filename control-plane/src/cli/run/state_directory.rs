//! The sidecar's state directory: its key, its SVID, its last known configuration.
//!
//! One for each running instance, and the same one again after a restart, so that an instance keeps its name
//! and identity. A lock tells instances on one machine apart: the second one takes the next directory. A run that came
//! to nothing (a misspelt service) leaves none behind.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Failure, Run, exit};
use crate::private_files::private_directory;

/// How many instances of one service may run on one data directory.
const INSTANCES_MAX: u32 = 1_000;

/// How often a directory may be removed by others while it is taken.
const TRIES_MAX: u32 = 3;

const LOCK: &str = "lock";

/// A directory that is ours until dropped.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    lock: Lock,
    /// Those of the same service that others have.
    taken: Vec<PathBuf>,
}

#[derive(Debug)]
struct Lock {
    _file: File,
    /// The directory was not there before.
    is_first: bool,
}

impl Drop for StateDirectory {
    /// With the lock still held: who waits for it sees that the file has no name any more ([`StateDirectory::lock`]).
    fn drop(&mut self) {
        if !self.lock.is_first {
            return;
        }
        let mut others = fs::read_dir(&self.path).into_iter().flatten().flatten();
        if others.all(|entry| entry.file_name() == LOCK) {
            let _ = fs::remove_file(self.path.join(LOCK));
            // Somebody may have put something there: then it stays.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl StateDirectory {
    /// Takes `--state-dir`, or the first free directory of the service.
    pub(super) fn claim(run: &Run) -> Result<Self, Failure> {
        let fail = |path: &Path, error: &io::Error| {
            Failure::new(
                exit::FAILED,
                format!("cannot use the state directory {}: {error}", path.display()),
            )
        };
        if let Some(path) = &run.state_dir {
            return match Self::lock(path) {
                Ok(Some(lock)) => Ok(Self {
                    path: path.clone(),
                    lock,
                    taken: Vec::new(),
                }),
                Ok(None) => Err(Failure::new(
                    exit::FAILED,
                    format!(
                        "another `usher run` is using the state directory {}",
                        path.display()
                    ),
                )),
                Err(error) => Err(fail(path, &error)),
            };
        }
        let base = run
            .data
            .path()
            .join("run")
            .join(format!("{}.{}", run.namespace, run.service));
        let mut taken = Vec::new();
        for number in 1..=INSTANCES_MAX {
            let path = match number {
                1 => base.clone(),
                _ => base.with_file_name(format!("{}.{}-{number}", run.namespace, run.service)),
            };
            if let Some(lock) = Self::lock(&path).map_err(|error| fail(&path, &error))? {
                return Ok(Self { path, lock, taken });
            }
            taken.push(path);
        }
        let message = format!(
            "{INSTANCES_MAX} instances of {} run here already",
            run.service
        );
        Err(Failure::new(exit::FAILED, message))
    }

    /// `None`: somebody else has it.
    fn lock(path: &Path) -> io::Result<Option<Lock>> {
        let mut tries = 0_u32;
        loop {
            let is_first = !path.exists();
            private_directory(path)?;
            let opened = File::options()
                .create(true)
                .append(true)
                .open(path.join(LOCK));
            let file = match opened {
                // It was removed between these two lines; or the lock is a link that leads nowhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES_MAX => {
                    tries += 1;
                    continue;
                }
                opened => opened?,
            };
            match file.try_lock() {
                Ok(()) if file.metadata()?.nlink() == 0 => {}
                Ok(()) => {
                    return Ok(Some(Lock {
                        _file: file,
                        is_first,
                    }));
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Those of other instances of the service that run here.
    pub(super) fn taken(&self) -> &[PathBuf] {
        &self.taken
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests;
