//! Where the bank keeps its files: one directory, temporary unless `--data` names one.
//!
//! ```text
//! bin/            symbolic links to this executable, one per program
//! config/         the mesh's YAML, as `usher serve` reads and watches it
//! control-plane/  state of the control plane: certificate authority, addresses, operator socket
//! databases/      one SQLite file per service
//! sidecars/       state of each instance's sidecar: key, certificate, addresses, admin socket
//! logs/           one file per process tree, and the sidecars' access logs
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::programs::Program;

/// Prefix of temporary directories: also how those that a killed launcher left are found.
const TEMPORARY_PREFIX: &str = "bank-";
/// Held as long as a launcher uses the directory; the kernel releases it however the launcher ends.
const LOCK: &str = "launcher.lock";
/// A Unix socket's path must fit in 108 bytes; this is the longest we make below the directory.
const SOCKET_PATH_MAX: usize = 107;
const LONGEST_SOCKET: &str = "sidecars/customer-profile-1/admin.sock";

/// The bank's mesh configuration, compiled in: the executable needs no other file.
const MESH: &[(&str, &str)] = &[
    ("mesh.yaml", include_str!("../mesh/mesh.yaml")),
    ("services.yaml", include_str!("../mesh/services.yaml")),
    ("workloads.yaml", include_str!("../mesh/workloads.yaml")),
    ("traffic.yaml", include_str!("../mesh/traffic.yaml")),
    ("access.yaml", include_str!("../mesh/access.yaml")),
];

/// The bank's directory, locked by this launcher.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    temporary: Option<tempfile::TempDir>,
    _lock: Flock<File>,
}

impl Layout {
    /// Makes the directory and its contents, and takes its lock.
    ///
    /// # Errors
    /// When the directory can't be made, is used by another launcher, or its path is too long.
    pub(crate) fn create(chosen: Option<&Path>) -> anyhow::Result<Self> {
        remove_abandoned(&std::env::temp_dir());
        let temporary = match chosen {
            Some(_) => None,
            None => Some(temporary_in(&std::env::temp_dir())?),
        };
        let root = match (&temporary, chosen) {
            (Some(temporary), _) => std::path::absolute(temporary.path())?,
            (None, chosen) => std::path::absolute(chosen.unwrap_or(Path::new("bank")))?,
        };
        let way_out = if temporary.is_some() {
            TEMPORARY_WAY_OUT
        } else {
            CHOSEN_WAY_OUT
        };
        check_length(&root, way_out)?;
        for directory in [
            "bin",
            "config",
            "control-plane",
            "databases",
            "sidecars",
            "logs",
        ] {
            let path = root.join(directory);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {} ({way_out})", path.display()))?;
        }
        let lock = if temporary.is_some() {
            lock_new(&root)?
        } else {
            lock(&root)?
        };
        let layout = Self {
            root,
            temporary,
            _lock: lock,
        };
        layout.link_programs()?;
        layout.write_configuration()?;
        Ok(layout)
    }

    /// Keeps a temporary directory after the end, to look into what happened.
    pub(crate) fn keep(&mut self) {
        if let Some(temporary) = self.temporary.as_mut() {
            temporary.disable_cleanup(true);
            // Without its lock's file it is nobody's abandoned directory.
            let _ = fs::remove_file(self.root.join(LOCK));
        }
    }

    /// Whether the directory is deleted at the end.
    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn program(&self, program: Program) -> PathBuf {
        self.root.join("bin").join(program.name())
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.root.join("config")
    }

    pub(crate) fn control_plane(&self) -> PathBuf {
        self.root.join("control-plane")
    }

    pub(crate) fn database(&self, service: &str) -> PathBuf {
        self.root
            .join("databases")
            .join(format!("{service}.sqlite"))
    }

    pub(crate) fn sidecar(&self, instance: &str) -> PathBuf {
        self.root.join("sidecars").join(instance)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn access_log(&self, instance: &str) -> PathBuf {
        self.root
            .join("logs")
            .join(format!("{instance}.access.log"))
    }

    /// Replaces one file of the configuration as an editor would: the watcher never sees half of it.
    ///
    /// # Errors
    /// When the directory can't be written.
    pub(crate) fn configure(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let mut draft = tempfile::NamedTempFile::new_in(&self.root)?;
        draft.write_all(text.as_bytes())?;
        let path = self.configuration().join(file);
        draft
            .persist(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// The text of one configuration file, as it is now.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn configured(&self, file: &str) -> anyhow::Result<String> {
        let path = self.configuration().join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn link_programs(&self) -> anyhow::Result<()> {
        let executable = std::env::current_exe().context("cannot find this executable")?;
        for program in Program::ALL {
            let link = self.program(program);
            // The executable may have moved since the last run in this directory.
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link)?;
            }
            symlink(&executable, &link)
                .with_context(|| format!("cannot create {}", link.display()))?;
        }
        Ok(())
    }

    /// A file that is already there stays: with `--data`, people edit it between runs.
    fn write_configuration(&self) -> anyhow::Result<()> {
        for (file, text) in MESH {
            if !self.configuration().join(file).exists() {
                self.configure(file, text)?;
            }
        }
        Ok(())
    }
}

/// What to do about a temporary directory.
const TEMPORARY_WAY_OUT: &str =
    "set TMPDIR to a directory with room, a short path and your right to write";
/// What to do about the user's own.
const CHOSEN_WAY_OUT: &str =
    "choose with --data a directory with room, a short path and your right to write";

fn temporary_in(parent: &Path) -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempdir_in(parent)
        .with_context(|| {
            let parent = parent.display();
            format!("cannot make a temporary directory in {parent} ({TEMPORARY_WAY_OUT})")
        })
}

fn check_length(root: &Path, way_out: &str) -> anyhow::Result<()> {
    let length = root.join(LONGEST_SOCKET).as_os_str().len();
    if length > SOCKET_PATH_MAX {
        bail!(
            "{} is {} bytes too long: Unix sockets below it could not be bound ({way_out})",
            root.display(),
            length - SOCKET_PATH_MAX
        );
    }
    Ok(())
}

fn lock(root: &Path) -> anyhow::Result<Flock<File>> {
    let path = root.join(LOCK);
    // Not truncated before it is ours: it names who has it.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file =
        file.with_context(|| format!("cannot create {} ({CHOSEN_WAY_OUT})", path.display()))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, _)| anyhow::anyhow!(in_use(root, &path)))?;
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    Ok(lock)
}

fn in_use(root: &Path, lock: &Path) -> String {
    let by = match fs::read_to_string(lock) {
        Ok(pid) if !pid.is_empty() => format!("another launcher (pid {pid})"),
        _ => "another launcher".to_owned(),
    };
    format!(
        "{} is in use by {by}: end that one, or choose another --data",
        root.display()
    )
}

/// Locks a directory nobody knows yet. The lock's file appears already locked, so that another launcher
/// that looks for abandoned directories never sees it free.
fn lock_new(root: &Path) -> anyhow::Result<Flock<File>> {
    let draft = root.join("launcher.lock.new");
    let lock = Flock::lock(File::create(&draft)?, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| anyhow::anyhow!("cannot lock {}: {errno}", draft.display()))?;
    fs::rename(&draft, root.join(LOCK))?;
    Ok(lock)
}

/// Deletes a directory, its lock's file last: what can't be deleted now is still found to be abandoned later.
///
/// # Errors
/// When something in it can't be deleted.
pub(crate) fn delete(root: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(root)
}

/// Deletes the temporary directories of launchers that were killed before they could do it themselves.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .to_string_lossy()
            .starts_with(TEMPORARY_PREFIX);
        let Ok(file) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if ours && Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            // Best effort: another launcher may be deleting it at this moment.
            let _ = delete(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
