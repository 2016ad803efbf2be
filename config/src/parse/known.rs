//! What each file said when it was read last: of thousands of files an edit changes one.
//!
//! A file whose inode, length and times are as they were is not read again, as git does it: if it had been left alone for
//! [`SETTLED_AFTER`] when it was read, whatever is written into it later has another time. Network file systems with clocks of
//! their own and programs that write through a mapping may still deceive, so now and then everything is read.

use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::Parsed;

/// File systems write times down in steps: of 4 ms here, of a second or two elsewhere.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// How often all files are read, whatever their times say.
const WHOLE_EVERY: Duration = Duration::from_secs(60);

/// What each file said.
#[derive(Debug, Default)]
pub struct Known {
    files: HashMap<PathBuf, Said>,
    /// When everything was read last.
    whole_at: Option<Instant>,
}

#[derive(Debug)]
struct Said {
    parsed: Arc<Parsed>,
    stamp: Stamp,
    /// Whether the times tell if it is as it was.
    settled: bool,
}

/// By which a file is told from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    length: u64,
    /// Of its text and of its inode, in seconds and nanoseconds since 1970.
    times: [(i64, i64); 2],
}

impl Stamp {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            inode: (file.dev(), file.ino()),
            length: file.len(),
            times: [
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            ],
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether nothing had happened to it for a while at `now`.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = now.saturating_sub(SETTLED_AFTER).as_secs();
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        self.times.iter().all(|(seconds, _)| *seconds < before)
    }
}

/// Files are read once more.
pub(super) struct Look {
    before: HashMap<PathBuf, Said>,
    whole: bool,
    began: SystemTime,
}

impl Known {
    /// Begins to read all files: what is not [kept](Self::keep) until the next time is forgotten.
    pub(super) fn look(&mut self) -> Look {
        let whole = self.whole_at.is_none_or(|at| at.elapsed() >= WHOLE_EVERY);
        if whole {
            self.whole_at = Some(Instant::now());
        }
        Look {
            before: std::mem::take(&mut self.files),
            whole,
            began: SystemTime::now(),
        }
    }

    /// Remembers what a file said that had this stamp before it was read.
    pub(super) fn keep(
        &mut self,
        look: &Look,
        path: PathBuf,
        (parsed, stamp): (Arc<Parsed>, Stamp),
    ) {
        let settled = stamp.is_settled(look.began);
        let said = Said {
            parsed,
            stamp,
            settled,
        };
        self.files.insert(path, said);
    }
}

impl Look {
    /// What a file says, if its times tell.
    pub(super) fn unread(&self, path: &Path, stamp: Stamp) -> Option<Arc<Parsed>> {
        let said = self.before.get(path)?;
        let is_same = !self.whole && said.settled && said.stamp == stamp;
        is_same.then(|| Arc::clone(&said.parsed))
    }

    /// What a file says, if it has the text that it had.
    pub(super) fn with_text(&self, path: &Path, text: &str) -> Option<Arc<Parsed>> {
        let said = self.before.get(path)?;
        let known = said.parsed.sources.get(path)?;
        (**known == *text).then(|| Arc::clone(&said.parsed))
    }
}

#[cfg(test)]
mod tests;
