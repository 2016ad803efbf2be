//! A directory of YAML, watched: what is written there is what the mesh is told.
//!
//! Events only say *when* to look; what counts is what is then read. So every way of saving works (write in
//! place, rename over, Kubernetes' symlink swap), and an event without a change of content does nothing. A
//! look is taken once the directory has been quiet, and again after a while in any case: events get lost on
//! network file systems and when the kernel's queue overflows.
//!
//! The kernel watches what a path leads to, not the path: beside the directory itself, every link on the way to it, and on
//! the way to what links in it lead to, is watched, and where they lead somewhere else by now, that is from then on.

mod burst;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};
use usher_config::parse::{Known, Parsed, parse_directory_again};

use burst::{Burst, is_yaml};

/// A directory that is never quiet is looked at anyway.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Without any event.
const AGAIN: Duration = Duration::from_secs(10);

/// Reads a directory, off the async threads.
///
/// # Errors
/// It, or a file in it, cannot be read. Nothing is known then: what is running stays.
pub async fn read(directory: &Path) -> io::Result<Parsed> {
    Reader::new(directory).read().await
}

/// Reads a directory again and again, and parses only what is not as it was.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    known: Known,
}

impl Reader {
    /// Of this directory.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            known: Known::default(),
        }
    }

    /// As it is now; off the async threads.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn read(&mut self) -> io::Result<Parsed> {
        let (directory, mut known) = (self.directory.clone(), std::mem::take(&mut self.known));
        let reading = move || {
            let parsed = parse_directory_again(&directory, &mut known);
            (parsed, known)
        };
        let (parsed, known) = tokio::task::spawn_blocking(reading)
            .await
            .map_err(io::Error::other)?;
        self.known = known;
        parsed
    }
}

/// Says when to look at a directory.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// What has happened since the last look.
    burst: watch::Sender<Burst>,
    events: watch::Receiver<Burst>,
    way: Way,
    /// Watches as long as it lives. `None`: this system cannot watch that directory, and time alone decides.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches a directory and everything below it.
    pub fn new(directory: &Path) -> Self {
        let way = Way::to(directory);
        let (burst, events) = watch::channel(Burst::new(Arc::clone(&way.files)));
        let watcher = watcher(&way, burst.clone())
            .inspect_err(|error| {
                warn!(%error, directory = %directory.display(), "cannot watch the directory, looking every 10 s");
            })
            .ok();
        Self {
            path: directory.to_owned(),
            burst,
            events,
            way,
            watcher,
        }
    }

    /// Waits until something may have changed and the directory is quiet.
    pub async fn changed(&mut self) {
        if self.watcher.is_none() {
            tokio::time::sleep(AGAIN).await;
        } else if let Ok(Ok(())) = timeout(AGAIN, self.events.changed()).await {
            let last = Instant::now() + QUIET_MAX;
            loop {
                let quiet = self.events.borrow_and_update().quiet();
                let quiet = (Instant::now() + quiet).min(last);
                tokio::select! {
                    event = self.events.changed() => if event.is_err() { break },
                    () = sleep_until(quiet) => break,
                }
            }
        }
        self.burst.send_if_modified(|burst| {
            burst.is_over();
            false
        });
    }

    /// Watches what the path leads to by now; whether that is somewhere else than before: then it is to be read once more,
    /// since nobody has watched it until now. Afterwards, and not before a reading: to look at all names of a large directory
    /// takes as long as to read what has changed in it.
    pub async fn follow(&mut self) -> bool {
        let path = self.path.clone();
        let way = tokio::task::spawn_blocking(move || Way::to(&path)).await;
        // While nothing is there, whoever puts it there is seen by the old watches on the way. An error is a panic, which has
        // been logged.
        let Some(way) = way.ok().filter(|way| way.end.is_some()) else {
            return false;
        };
        self.burst.send_if_modified(|burst| {
            burst.knows(Arc::clone(&way.files));
            false
        });
        if !way.leads_elsewhere(&self.way) {
            return false;
        }
        match watcher(&way, self.burst.clone()) {
            Ok(watcher) => (self.watcher, self.way) = (Some(watcher), way),
            Err(error) => {
                warn!(%error, directory = %self.path.display(), "cannot watch the directory");
                return false;
            }
        }
        true
    }
}

/// How many links may be on the way: as many as Linux follows.
const LINKS_MAX: usize = 40;

/// How many links in the directory and its folders are followed, and how many folders are looked into for them; what others
/// lead to is looked at every 10 s.
const INSIDE_MAX: usize = 1_000;

/// What a path leads to, and over which names; with what links in that directory lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Way {
    /// The path's own last name and each link on the way, without links before it: where a swap is seen.
    names: BTreeSet<PathBuf>,
    /// Without any link, and which inode it is: another directory may have the same name. `None`: nothing is there.
    end: Option<End>,
    /// What links in it lead to, if that is somewhere else.
    beside: BTreeSet<End>,
    /// What is read there.
    files: Arc<BTreeSet<PathBuf>>,
}

impl Way {
    /// Whether other places are to be watched.
    fn leads_elsewhere(&self, before: &Self) -> bool {
        let of = |way: &Self| (way.names.clone(), way.end.clone(), way.beside.clone());
        of(self) != of(before)
    }
}

/// A path without links, its device and inode.
type End = (PathBuf, u64, u64);

impl Way {
    fn to(path: &Path) -> Self {
        let mut way = Self::default();
        way.end = way.walk(path);
        let Some((end, _, _)) = way.end.clone() else {
            return way;
        };
        let Below { links, files } = Below::new(&end);
        way.files = Arc::new(files);
        for link in links {
            let beside = way.walk(&link);
            way.beside
                .extend(beside.filter(|(beside, _, _)| !beside.starts_with(&end)));
        }
        way
    }

    /// Notes the names on the way; where it ends.
    fn walk(&mut self, path: &Path) -> Option<End> {
        let absolute = std::path::absolute(path).ok()?;
        let mut rest: Vec<OsString> = reversed(&absolute);
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            let target = fs::read_link(&next).ok();
            if target.is_some() || rest.is_empty() {
                self.names.insert(next.clone());
            }
            match target {
                Some(_) if links == LINKS_MAX => return None,
                Some(target) => {
                    links += 1;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    rest.extend(reversed(&target));
                }
                None => real = next,
            }
        }
        let inode = fs::metadata(&real).ok()?;
        Some((real, inode.dev(), inode.ino()))
    }

    /// All places where something is read.
    fn ends(&self) -> impl Iterator<Item = &Path> {
        let ends = self.end.iter().chain(&self.beside);
        ends.map(|(end, _, _)| end.as_path())
    }

    /// Whether an event is about it; one without a path is about anything.
    fn is_met_by(&self, event: &Event) -> bool {
        let is_met = |path: &PathBuf| {
            self.names.contains(path) || self.ends().any(|end| path.starts_with(end))
        };
        event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(is_met)
    }
}

/// What is in a directory and in its folders, as far as these are looked into.
#[derive(Debug, Default)]
struct Below {
    /// At most [`INSIDE_MAX`]: files and folders that lie elsewhere.
    links: Vec<PathBuf>,
    /// That are read, links among them.
    files: BTreeSet<PathBuf>,
}

impl Below {
    fn new(directory: &Path) -> Self {
        let (mut folders, mut below) = (vec![directory.to_owned()], Self::default());
        let mut looked_into = 0;
        while let Some(folder) = folders.pop()
            && looked_into < INSIDE_MAX
        {
            looked_into += 1;
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| is_read(&entry.file_name())) {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_symlink() => below.links.push(path.clone()),
                    Ok(kind) if kind.is_dir() => folders.push(path.clone()),
                    _ => {}
                }
                if is_yaml(&path) {
                    below.files.insert(path);
                }
            }
        }
        below.links.truncate(INSIDE_MAX);
        below
    }
}

/// Hidden names are not read, but through the one that Kubernetes swaps.
fn is_read(name: &OsStr) -> bool {
    name == "..data" || !name.as_encoded_bytes().starts_with(b".")
}

/// The names of a path, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|name| match name {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

fn watcher(way: &Way, burst: watch::Sender<Burst>) -> notify::Result<RecommendedWatcher> {
    let about = way.clone();
    let mut watcher =
        notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if is_reading(event.kind) || !about.is_met_by(&event) => {}
            Ok(event) => burst.send_modify(|burst| burst.note(&event)),
            // Lost events, hence look.
            Err(_) => burst.send_modify(Burst::lost),
        })?;
    for name in &way.names {
        // A directory that we may not look into only costs the time until the next look. A single file is watched through
        // its directory alone: an editor that renames replaces what a watch on it holds.
        if let Some(directory) = name.parent()
            && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
        {
            debug!(%error, directory = %directory.display(), "cannot watch");
        }
    }
    for (end, ..) in way.end.iter().filter(|(end, ..)| end.is_dir()) {
        watcher.watch(end, RecursiveMode::Recursive)?;
    }
    // What lies elsewhere may be large, or not ours to look into: it must not take the other watches with it.
    for (end, ..) in way.beside.iter().filter(|(end, ..)| end.is_dir()) {
        if let Err(error) = watcher.watch(end, RecursiveMode::Recursive) {
            debug!(%error, directory = %end.display(), "cannot watch");
        }
    }
    Ok(watcher)
}

/// Our own reading is no change.
fn is_reading(kind: EventKind) -> bool {
    const CLOSED: AccessKind = AccessKind::Close(AccessMode::Write);
    matches!(kind, EventKind::Access(access) if access != CLOSED)
}

#[cfg(test)]
mod tests;
