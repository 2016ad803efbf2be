//! The sidecar's state directory: its key, its SVID, its last known configuration.
//!
//! One for each running instance, and the same one again after a restart, so that an instance keeps its name
//! and identity. A lock tells instances on one machine apart: the second one takes the next directory.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{Failure, Run, exit};
use crate::private_files::private_directory;

/// How many instances of one service may run on one data directory.
const INSTANCES_MAX: u32 = 1_000;

/// A directory that is ours until dropped.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    _lock: File,
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
                    _lock: lock,
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
        for number in 1..=INSTANCES_MAX {
            let path = match number {
                1 => base.clone(),
                _ => base.with_file_name(format!("{}.{}-{number}", run.namespace, run.service)),
            };
            if let Some(lock) = Self::lock(&path).map_err(|error| fail(&path, &error))? {
                return Ok(Self { path, _lock: lock });
            }
        }
        let message = format!(
            "{INSTANCES_MAX} instances of {} run here already",
            run.service
        );
        Err(Failure::new(exit::FAILED, message))
    }

    fn lock(path: &Path) -> io::Result<Option<File>> {
        private_directory(path)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
