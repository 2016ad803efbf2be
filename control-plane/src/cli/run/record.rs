//! What a run with `--transparent` has set up, as its state directory keeps it until it is gone.
//!
//! Whoever reads it kills and removes what it names, as root. So it is believed only if the same user wrote it, and only
//! about a group that a run of the same service may have made. Each run has a file of its own: the guard of an earlier
//! one, late, takes nobody else's away.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::{Failure, exit};
use crate::private_files::write_private;

const BEGINS: &str = "interception-";
const ENDS: &str = ".json";

/// Digits of a run's number.
const DIGITS: usize = 8;

/// What a run has set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Path of the control group, below the root of all.
    pub(super) cgroup: String,
}

/// The file of the run with this number.
pub(super) fn file(state: &Path, number: &str) -> PathBuf {
    state.join(format!("{BEGINS}{number}{ENDS}"))
}

/// Where the guard of that run says what went wrong.
pub(super) fn log(record: &Path) -> PathBuf {
    record.with_extension("log")
}

/// What the names of a service's groups begin with, before the run's number.
pub(super) fn prefix(full_service: &str) -> String {
    format!("usher-{}-", full_service.replace('/', "."))
}

/// # Errors
/// Whatever the operating system says.
pub(super) fn write(record: &Path, held: &Held) -> io::Result<()> {
    write_private(record, &serde_json::to_vec(held)?)
}

/// It is gone, what it said too; what its guard had to say stays.
pub(super) fn forget(record: &Path) {
    let _ = fs::remove_file(record);
    let log = log(record);
    if fs::metadata(&log).is_ok_and(|log| log.len() == 0) {
        let _ = fs::remove_file(log);
    }
}

/// What earlier runs left in this state directory. `prefix`: of the service's groups.
///
/// # Errors
/// One of them is not to be believed; why, and what to do.
pub(super) fn left(state: &Path, prefix: &str) -> Result<Vec<(PathBuf, Held)>, Failure> {
    let unread = |error: io::Error| {
        let message = format!(
            "cannot read the state directory {}: {error}",
            state.display()
        );
        Failure::new(exit::SYSTEM, message)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(state).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(BEGINS) && name.ends_with(ENDS) {
            let record = entry.path();
            match read(state, &record, prefix) {
                Ok(Some(held)) => found.push((record, held)),
                Ok(None) => {}
                Err(why) => return Err(not_believed(&record, prefix, &why)),
            }
        }
    }
    Ok(found)
}

/// `None`: it was removed meanwhile. The error is why it is not believed.
fn read(state: &Path, record: &Path, prefix: &str) -> Result<Option<Held>, String> {
    let said = |error: io::Error| error.to_string();
    let own = geteuid().as_raw();
    // A link is nobody's record, wherever it leads.
    let (directory, file) = match (fs::metadata(state), fs::symlink_metadata(record)) {
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        (directory, file) => (directory.map_err(said)?, file.map_err(said)?),
    };
    for (owner, what) in [(directory.uid(), state), (file.uid(), record)] {
        if owner != own {
            let what = what.display();
            return Err(format!(
                "{what} is owned by user {owner}, and this is user {own}"
            ));
        }
    }
    if !file.is_file() {
        return Err("it is no file".to_owned());
    }
    let text = match fs::read(record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(said)?,
    };
    let held: Held = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if is_of(&held.cgroup, prefix) {
        Ok(Some(held))
    } else {
        Err(format!(
            "it names the control group {:?}, where a path is allowed that ends in {prefix}NUMBER",
            held.cgroup
        ))
    }
}

/// Whether a run of the service may have made it: nobody else's processes are killed.
fn is_of(cgroup: &str, prefix: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |letter: char| !letter.is_control() && letter != '"';
        !matches!(name, "" | "." | "..") && name.chars().all(is_plain)
    };
    let last = cgroup.rsplit('/').next().unwrap_or_default();
    let is_number =
        |rest: &str| rest.len() == DIGITS && rest.bytes().all(|digit| digit.is_ascii_hexdigit());
    cgroup.split('/').all(is_name) && last.strip_prefix(prefix).is_some_and(is_number)
}

fn not_believed(record: &Path, prefix: &str, why: &str) -> Failure {
    let record = record.display();
    let message =
        format!("{record} is about what an earlier run left behind, and is not believed: {why}");
    Failure::new(exit::SYSTEM, message).advise(format!(
        "to clean up by hand, for each GROUP that find /sys/fs/cgroup -name '{prefix}*' shows (without /sys/fs/cgroup/) and \
         that is of no running usher: echo 1 > /sys/fs/cgroup/GROUP/cgroup.kill; usher-proxy intercept remove \
         --only-cgroup GROUP; then rm {record}"
    ))
}

#[cfg(test)]
mod tests;
