//! Configuration comes in: from the watched directory, through the store, into force.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tracing::{info, warn};
use usher_config::parse::Parsed;

use crate::{
    registry::{
        StoreError, World,
        store::{Commit, HISTORY, RevisionRecord},
        world::Reading,
    },
    source::directory::{self, Watch},
    status::{MistakeReport, RejectedObject},
};

use super::{Configuration, State, apply::Decision};

/// How many changed objects a revision's record names.
const CHANGED_MAX: usize = 100;

impl State {
    /// Keeps the mesh as the directory says, for ever. A directory that cannot be read changes nothing.
    pub async fn run_directory(&self, directory: PathBuf) {
        let mut watch = Watch::new(&directory);
        let mut seen = None;
        loop {
            match directory::read(&directory).await {
                Ok(parsed) if seen.as_ref() == Some(&parsed.sources) => {}
                Ok(parsed) => {
                    let sources = parsed.sources.clone();
                    match self.apply(parsed, &directory).await {
                        Ok(_) => seen = Some(sources),
                        Err(error) => {
                            warn!(
                                error = &error as &dyn std::error::Error,
                                "configuration not accepted"
                            );
                        }
                    }
                }
                Err(error) => {
                    warn!(%error, directory = %directory.display(), "configuration directory unreadable");
                    self.complain(&directory, &error);
                    // What was said about it is out of date as soon as it can be read.
                    seen = None;
                }
            }
            watch.changed().await;
        }
    }

    /// Makes a revision of what was parsed, read against `current`, if it `accepts` the reading. The caller holds `writer`.
    pub(super) async fn decide(
        &self,
        current: &Arc<Configuration>,
        (parsed, base): (&Arc<Parsed>, &Path),
        accepts: fn(&Reading) -> bool,
    ) -> Result<Decision, StoreError> {
        let (before, base) = (Arc::clone(current), base.to_owned());
        let parsed = Arc::clone(parsed);
        let (reading, digest) = off_thread(move || {
            let reading = before.world.read(&parsed, &base, SystemTime::now());
            let digest = reading.world.digest();
            (reading, digest)
        })
        .await?;
        if !accepts(&reading) {
            return Ok(Decision::Refused(reading.rejected));
        }
        for rejected in &reading.rejected {
            let mistake = rejected
                .mistakes
                .first()
                .map(|mistake| format!("{}: {}", mistake.at, mistake.message));
            warn!(
                object = rejected.object,
                last_good = rejected.last_good,
                mistake,
                "object rejected"
            );
        }
        let mut revisions = current.revisions.clone();
        let is_new = revisions
            .last()
            .is_none_or(|record| record.digest != digest);
        if is_new {
            let record = RevisionRecord {
                number: revisions.last().map_or(0, |record| record.number) + 1,
                digest,
                accepted_at: SystemTime::now(),
                changed: reading
                    .changed
                    .iter()
                    .take(CHANGED_MAX)
                    .map(ToString::to_string)
                    .collect(),
            };
            self.commit(&current.world, &reading.world, record.clone())
                .await?;
            info!(
                revision = record.number,
                changed = reading.changed.len(),
                "configuration accepted"
            );
            revisions.push(record);
            revisions.drain(..revisions.len().saturating_sub(HISTORY));
        }
        let mut next = off_thread(move || {
            Configuration::new(reading.world, revisions, reading.rejected, reading.remarks)
        })
        .await?;
        if !is_new {
            // The same content: streams need not look at it again.
            next.configured = current.configured.clone();
        }
        let revision = next.configured.revision.clone();
        let in_force = self.0.configuration.load_full();
        let is_seen = !Arc::ptr_eq(&in_force.configured, &next.configured);
        self.0.configuration.store(Arc::new(next));
        if is_seen {
            self.changed();
        }
        Ok(match is_new {
            true => Decision::New(revision),
            false => Decision::Unchanged(revision),
        })
    }

    async fn commit(
        &self,
        old: &World,
        new: &World,
        revision: RevisionRecord,
    ) -> Result<(), StoreError> {
        let is_stored = |key, accepted| old.objects.get(key) == Some(accepted);
        let accepted = new
            .objects
            .iter()
            .filter(|(key, accepted)| !is_stored(*key, *accepted));
        let commit = Commit {
            revision,
            accepted: accepted
                .map(|(key, accepted)| (key.clone(), accepted.stored()))
                .collect(),
            deleted: old
                .objects
                .keys()
                .filter(|key| !new.objects.contains_key(key))
                .cloned()
                .collect(),
            denied: new.denied.clone(),
            addresses: new.addresses.clone(),
            deleted_services: new.deleted.clone(),
        };
        let state = self.clone();
        off_thread(move || state.0.store.commit(&commit)).await?
    }

    fn complain(&self, directory: &Path, error: &io::Error) {
        let current = self.0.configuration.load_full();
        let rejected = RejectedObject {
            object: directory.display().to_string(),
            last_good: true,
            mistakes: vec![MistakeReport {
                at: directory.display().to_string(),
                path: String::new(),
                message: format!("the configuration directory cannot be read: {error}"),
            }],
        };
        let next = Configuration {
            world: current.world.clone(),
            compiled: current.compiled.clone(),
            configured: current.configured.clone(),
            revisions: current.revisions.clone(),
            rejected: vec![rejected],
            remarks: Vec::new(),
        };
        // Somebody else has just accepted a configuration: then it can be read.
        self.0
            .configuration
            .compare_and_swap(&current, Arc::new(next));
    }
}

/// Disk and long computations (a large mesh compiles for as long as many requests take) off the async threads, on
/// which leases are renewed and streams are answered meanwhile.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Storage(Box::new(error)))
}
