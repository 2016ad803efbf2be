//! How containers of a pod tell its sidecar that they have ended: by a file each, in a directory that they share.
//!
//! `usher-proxy pod exec` holds a lock on its container's file for as long as it lives, which the kernel lets go of however
//! it dies; in the file stands that it has begun, and at last with which code its command ended.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use tokio::time::sleep;
use usher_config::value::Name;

use crate::bootstrap::{Again, EndsWith};

/// Between two looks: a Job that is done may wait that long.
const PAUSE: Duration = Duration::from_millis(500);

const BEGUN: &str = "begun\n";

/// A container, as far as its file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun yet.
    Expected,
    /// Its command runs.
    Running,
    /// Its command ended with this code; `None`: it died before it could say so.
    Ended(Option<u8>),
}

/// Whether nothing will run any more. Pure.
pub(super) fn is_over(states: &[State], again: Again) -> bool {
    states.iter().all(|state| match (state, again) {
        (State::Ended(Some(0)), _) | (State::Ended(_), Again::Never) => true,
        // The kubelet starts it again.
        (State::Ended(_), Again::OnFailure) => false,
        (State::Expected | State::Running, _) => false,
    })
}

/// Returns when all containers have ended for good; never where nobody asked for that.
pub async fn over(ends_with: Option<EndsWith>) {
    let Some(EndsWith {
        notes,
        again,
        containers,
    }) = ends_with
    else {
        return std::future::pending().await;
    };
    loop {
        let states = containers.iter().map(|name| look(&notes, name));
        let states: Vec<State> = states.collect();
        if is_over(&states, again) {
            return;
        }
        sleep(PAUSE).await;
    }
}

fn look(notes: &Path, name: &Name) -> State {
    let looked = || -> io::Result<State> {
        let mut file = File::open(notes.join(name.as_str()))?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(State::Running),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut said = String::new();
        file.read_to_string(&mut said)?;
        Ok(match said.strip_prefix(BEGUN) {
            None => State::Expected,
            Some(code) => State::Ended(code.trim().parse().ok()),
        })
    };
    // Whoever has not begun has no file.
    looked().unwrap_or(State::Expected)
}

/// A container's own file, locked.
#[derive(Debug)]
pub(super) struct Note(File);

impl Note {
    /// Begins it anew; waits for whoever looks at it.
    pub(super) fn begin(notes: &Path, name: &Name) -> io::Result<Self> {
        let path = notes.join(name.as_str());
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let mut file = file.mode(0o644).open(&path)?;
        file.lock()?;
        // The sidecar is another user, whatever this one's umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        file.set_len(0)?;
        file.write_all(BEGUN.as_bytes())?;
        Ok(Self(file))
    }

    /// The command's end. Known to others when this process has ended.
    pub(super) fn end(&mut self, code: u8) -> io::Result<()> {
        writeln!(self.0, "{code}")
    }
}

#[cfg(test)]
mod tests;
