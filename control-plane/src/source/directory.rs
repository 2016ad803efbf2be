//! A directory of YAML, watched: what is written there is what the mesh is told.
//!
//! Events only say *when* to look; what counts is what is then read. So every way of saving works (write in
//! place, rename over, Kubernetes' symlink swap), and an event without a change of content does nothing. A
//! look is taken once the directory has been quiet, and again after a while in any case: events get lost on
//! network file systems and when the kernel's queue overflows.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;
use usher_config::parse::{Known, Parsed, parse_directory_again};

/// An editor that truncates, writes and renames does so within milliseconds; a half-written file must not be
/// taken for a deletion.
const QUIET: Duration = Duration::from_millis(100);

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
    events: mpsc::Receiver<()>,
    /// Watches as long as it lives. `None`: this system cannot watch that directory, and time alone decides.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches a directory and everything below it.
    pub fn new(directory: &Path) -> Self {
        // One event is enough to look; more of them say nothing new.
        let (sender, events) = mpsc::channel(1);
        let watcher = watcher(directory, sender)
            .inspect_err(|error| {
                warn!(%error, directory = %directory.display(), "cannot watch the directory, looking every 10 s");
            })
            .ok();
        Self {
            events,
            _watcher: watcher,
        }
    }

    /// Waits until something may have changed and the directory is quiet.
    pub async fn changed(&mut self) {
        match timeout(AGAIN, self.events.recv()).await {
            Ok(Some(())) => {}
            // Without a watcher the channel is closed: wait all the same.
            Ok(None) => return tokio::time::sleep(AGAIN).await,
            Err(_) => return,
        }
        let last = Instant::now() + QUIET_MAX;
        loop {
            let quiet = (Instant::now() + QUIET).min(last);
            tokio::select! {
                event = self.events.recv() => if event.is_none() { return },
                () = sleep_until(quiet) => return,
            }
        }
    }
}

fn watcher(directory: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error means lost events, hence look. Our own reading is no change.
        let relevant = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
        if relevant {
            // Full: somebody is about to look already.
            let _ = sender.try_send(());
        }
    })?;
    let directory: PathBuf = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    // A single file is watched through its directory: an editor that renames replaces what a watch on it holds.
    let watched = if directory.is_file() {
        directory.parent().unwrap_or(&directory)
    } else {
        &directory
    };
    watcher.watch(watched, RecursiveMode::Recursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests;
