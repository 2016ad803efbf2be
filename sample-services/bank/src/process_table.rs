//! Who is whose child: the processes below one we started, from `/proc`.
//!
//! `usher run` starts the sidecar and the service; the launcher wants to show, and kill, each of them.

use std::fs;

use nix::unistd::Pid;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    /// The kernel's name of the program: at most 15 characters.
    pub(crate) name: String,
    /// A process that ended and wasn't reaped yet.
    pub(crate) is_zombie: bool,
}

/// All processes of the machine at one moment.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable(Vec<Entry>);

impl ProcessTable {
    /// Reads `/proc`; what can't be read (it just ended) is left out.
    pub(crate) fn read() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Self::default();
        };
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self(pids.filter_map(|pid| entry(Pid::from_raw(pid))).collect())
    }

    /// A process and all below it.
    pub(crate) fn tree(&self, root: Pid) -> Vec<Pid> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            let children = self
                .0
                .iter()
                .filter(|entry| entry.parent == parent && entry.pid != parent);
            tree.extend(children.map(|entry| entry.pid));
            next += 1;
        }
        tree
    }

    /// The child of `parent` that runs `program`.
    pub(crate) fn child(&self, parent: Pid, program: &str) -> Option<Pid> {
        let name: String = program.chars().take(15).collect();
        let found = self
            .0
            .iter()
            .find(|entry| entry.parent == parent && entry.name == name);
        found
            .filter(|entry| !entry.is_zombie)
            .map(|entry| entry.pid)
    }
}

/// Whether the process exists and has not ended.
pub(crate) fn is_running(pid: Pid) -> bool {
    entry(pid).is_some_and(|entry| !entry.is_zombie)
}

/// Memory that a process has to itself, in bytes. The rest of what is resident is the executable, whose pages
/// all programs of the bank share.
pub(crate) fn own_bytes(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn entry(pid: Pid) -> Option<Entry> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent …`; the name may itself hold spaces and parentheses.
fn parse(pid: Pid, stat: &str) -> Option<Entry> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let parent = Pid::from_raw(fields.next()?.parse().ok()?);
    Some(Entry {
        pid,
        parent,
        name: name.to_owned(),
        is_zombie,
    })
}

#[cfg(test)]
mod tests;
