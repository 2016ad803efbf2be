//! When the last known good configuration is saved: at most once a second, and once more at the end. A disk that refuses
//! is tried again after twice the time, up to half a minute.

use std::io;

use tokio::{sync::oneshot, task::spawn_blocking};
use tracing::{info, warn};

use super::{last_known_good, subscription::Subscription};
use crate::state_dir::StateDir;

/// The file, and how far it is behind.
#[derive(Debug)]
pub(super) struct Saving {
    directory: StateDir,
    /// Something is known that no save has had.
    due: bool,
    under_way: Option<oneshot::Receiver<io::Result<()>>>,
    /// How many saves have failed since one has not.
    failures: u32,
    /// For how many calls of [`Self::save`] a disk that refuses is left alone.
    pause: u32,
}

/// The longest that a disk that refuses is left alone, in ticks of a second: what is to be saved is encoded anew each time.
const PAUSE_MAX: u32 = 30;

impl Saving {
    pub(super) fn new(directory: StateDir) -> Self {
        Self {
            directory,
            due: false,
            under_way: None,
            failures: 0,
            pause: 0,
        }
    }

    /// The file is older than what is known.
    pub(super) fn note_change(&mut self) {
        self.due = true;
    }

    /// Begins to save what is due. Never two at once, so that nothing is replaced by what is older: a slow disk only
    /// makes the file older.
    pub(super) fn save(&mut self, subscription: &Subscription) {
        if let Some(under_way) = &mut self.under_way {
            match under_way.try_recv() {
                Ok(saved) => self.saved(saved),
                Err(oneshot::error::TryRecvError::Empty) => return,
                Err(oneshot::error::TryRecvError::Closed) => self.saved(Err(abandoned())),
            }
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        if !std::mem::take(&mut self.due) {
            return;
        }
        let (done, under_way) = oneshot::channel();
        let bytes = last_known_good::encode(subscription);
        let directory = self.directory.clone();
        spawn_blocking(move || {
            // Nobody listens any more: the process ends without waiting for the disk.
            let _ = done.send(last_known_good::save(&directory, &bytes));
        });
        self.under_way = Some(under_way);
    }

    /// Returns when everything that is known is on disk, or the disk has refused it.
    pub(super) async fn finish(&mut self, subscription: &Subscription) {
        self.settle().await;
        self.pause = 0;
        self.save(subscription);
        self.settle().await;
    }

    async fn settle(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            let saved = under_way.await.unwrap_or_else(|_| Err(abandoned()));
            self.saved(saved);
        }
    }

    fn saved(&mut self, saved: io::Result<()>) {
        self.under_way = None;
        match saved {
            Ok(()) => {
                if std::mem::take(&mut self.failures) > 0 {
                    info!("last known good configuration is kept again");
                }
            }
            Err(error) => {
                self.due = true;
                if self.failures == 0 {
                    warn!(%error, "last known good configuration could not be kept");
                }
                self.pause = (1 << self.failures.min(8)).min(PAUSE_MAX);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }
}

fn abandoned() -> io::Error {
    io::Error::other("the writer ended")
}

#[cfg(test)]
mod tests;
