//! Control groups, as far as `usher run --transparent` needs them: where ours may be, and its end.
//!
//! The command's group is made below the one that `usher run` is in: limits of a service or a session hold for both.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};
use tokio::time::{Instant, sleep};

/// Where `nft` looks groups up.
pub(super) const ROOT: &str = "/sys/fs/cgroup";

/// How long processes take to be gone that were killed.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is at `/sys/fs/cgroup`, by `/proc/self/mounts`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mounted {
    /// Control groups of version 2.
    V2,
    /// Something else; and where version 2 is, if anywhere.
    Other {
        found: Option<String>,
        elsewhere: Option<String>,
    },
}

/// The last one mounted at a place hides those before it.
pub(super) fn mounted(mounts: &str) -> Mounted {
    let fields = |line: &'_ str| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let all: Vec<(String, String)> = mounts.lines().filter_map(fields).collect();
    let found = all.iter().rev().find(|(place, _)| place == ROOT);
    match found {
        Some((_, kind)) if kind == "cgroup2" => Mounted::V2,
        found => {
            let elsewhere = all
                .iter()
                .rev()
                .find(|(place, kind)| kind == "cgroup2" && place != ROOT);
            Mounted::Other {
                found: found.map(|(_, kind)| kind.clone()),
                elsewhere: elsewhere.map(|(place, _)| place.clone()),
            }
        }
    }
}

/// This process's own group, by `/proc/self/cgroup`, without the slash it begins with; `None`: it is not below `ROOT`.
pub(super) fn own(cgroups: &str) -> Option<&str> {
    let mut lines = cgroups.lines();
    let path = lines.find_map(|line| line.strip_prefix("0::/"))?;
    let is_outside = path.split('/').any(|name| name == "..");
    (!is_outside && !path.ends_with(" (deleted)")).then_some(path)
}

pub(super) fn directory(cgroup: &str) -> PathBuf {
    Path::new(ROOT).join(cgroup)
}

/// Whether a process is in it, or below.
fn is_populated(directory: &Path) -> bool {
    match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(events) => events.lines().any(|line| line == "populated 1"),
        // Whoever cannot look does not know that nobody is there.
        Err(error) => !is_gone(&error),
    }
}

/// Sends a signal to every process in it, or below; to those that are there by now.
pub(super) fn signal(directory: &Path, signal: Signal) {
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    // 0: a process that this namespace does not see; to the kernel it would mean ourselves.
    let pids = processes.lines().filter_map(|line| line.parse().ok());
    for pid in pids.filter(|pid| *pid > 0) {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            self::signal(&entry.path(), signal);
        }
    }
}

/// Waits until nobody is in it; `false`: somebody still is.
pub(super) async fn empties(cgroup: &str, within: Duration) -> bool {
    let (directory, started) = (directory(cgroup), Instant::now());
    while is_populated(&directory) {
        if started.elapsed() >= within {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// Kills all that is in it, if it is there.
///
/// # Errors
/// Whatever the operating system says; or that somebody does not die (of a disk that does not answer, say).
pub(super) async fn kill(cgroup: &str) -> io::Result<()> {
    let directory = directory(cgroup);
    if is_populated(&directory) {
        unless_gone(fs::write(directory.join("cgroup.kill"), "1"))?;
    }
    if empties(cgroup, GONE_WITHIN).await {
        Ok(())
    } else {
        Err(io::Error::new(
            ErrorKind::TimedOut,
            "killed processes are still there",
        ))
    }
}

/// Removes it with the groups that were made in it; it may be gone.
///
/// # Errors
/// Whatever the operating system says.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    unless_gone(fs::remove_dir(directory))
}

/// A guard may be at it at the same time as the next run.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_gone(&error) => Ok(()),
        result => result,
    }
}

fn is_gone(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::ENOENT | Errno::ENODEV))
}

#[cfg(test)]
mod tests;
