//! Configuration comes in: from the watched directory, through the store, into force.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime},
};

use tracing::{info, warn};
use usher_config::{model::Revision, parse::Parsed};

use crate::{
    registry::{
        StoreError, World, beside,
        history::{self, Replaced},
        store::{CHANGED_MAX, Commit, HISTORY, Origin, RevisionRecord},
        world::{Accepted, Reading},
    },
    source::directory::{Reader, Watch},
    status::{MistakeReport, RejectedObject},
};

use super::{
    Configuration, State,
    apply::{By, Decision},
};

impl State {
    /// Keeps the mesh as the directory says, for ever. A directory that cannot be read changes nothing.
    pub async fn run_directory(&self, directory: PathBuf) {
        let (mut watch, mut reader) = (Watch::new(&directory), Reader::new(&directory));
        let mut releases = self.0.released.subscribe();
        let mut seen = None;
        loop {
            let begun = Instant::now();
            match reader.read().await {
                Ok(parsed) if seen.as_ref().is_some_and(|seen| *seen == said_by(&parsed)) => {}
                Ok(parsed) => {
                    let (sources, read) = (said_by(&parsed), begun.elapsed());
                    match self.apply(parsed, &directory).await {
                        Ok(revision) => {
                            seen = Some(sources);
                            if let Some(Revision { number, .. }) = revision {
                                let decided = begun.elapsed().saturating_sub(read);
                                info!(revision = number, ?read, ?decided, "directory in force");
                            }
                        }
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
            if watch.follow().await {
                continue;
            }
            tokio::select! {
                () = watch.changed() => {}
                // What waited is read again, now to come into force.
                _ = releases.changed() => seen = None,
            }
        }
    }

    /// Makes a revision of what was parsed, read against `current`, if it `accepts` the reading. The caller holds `writer`.
    pub(super) async fn decide(
        &self,
        current: &Arc<Configuration>,
        (parsed, base): (&Arc<Parsed>, &Path),
        accepts: fn(&Reading) -> bool,
        by: &By,
    ) -> Result<Decision, StoreError> {
        let (before, base) = (Arc::clone(current), base.to_owned());
        let (parsed, state, forced) = (Arc::clone(parsed), self.clone(), by.forced);
        let (reading, lock_outs, digest) = off_thread(move || {
            let mut reading = before.world.read(&parsed, &base, SystemTime::now());
            let lock_outs = state.waits(&before, &mut reading.world, (forced, None));
            let digest = reading.world.digest();
            (reading, lock_outs, digest)
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
        if let Some(pinned) = current.pinned() {
            // What a command brings is refused, what a directory or a cluster has waits there.
            let waits = matches!(by.origin, Origin::Directory | Origin::Cluster);
            self.hold(current, waits.then_some(reading));
            return Ok(Decision::Pinned(pinned));
        }
        let newest = current.revisions.last();
        let is_new = newest.is_none_or(|record| record.digest != digest);
        let next = Next {
            digest,
            pinned: None,
            reading,
        };
        let by = lock_outs.told_in(by);
        let revision = self.put(current, next, is_new.then_some(&by)).await?;
        Ok(match is_new {
            true => Decision::New(revision),
            false => Decision::Unchanged(revision),
        })
    }

    /// Puts a world in force, as a new revision of somebody's if it is one. The caller holds `writer`.
    pub(super) async fn put(
        &self,
        current: &Arc<Configuration>,
        next: Next,
        by: Option<&By>,
    ) -> Result<Revision, StoreError> {
        let Next {
            digest,
            pinned,
            reading,
        } = next;
        let mut revisions = current.revisions.clone();
        let mut commit = None;
        if let Some(by) = by {
            let names = reading.changed.iter().map(ToString::to_string);
            let replaced = replaced(&current.world, &reading.world);
            let still = reading.world.still_permissive.iter();
            let record = RevisionRecord {
                number: revisions.last().map_or(0, |record| record.number) + 1,
                digest,
                accepted_at: SystemTime::now(),
                changed: names.take(CHANGED_MAX).collect(),
                changed_count: Some(reading.changed.len()),
                origin: by.origin,
                author: by.author.clone(),
                message: by.message.clone(),
                pinned,
                replaced_bytes: Some(replaced.bytes()),
                still_permissive: still
                    .map(|(service, wait)| (service.to_string(), *wait))
                    .collect(),
            };
            revisions.push(record.clone());
            revisions.drain(..revisions.len().saturating_sub(HISTORY));
            let worlds = (&current.world, &reading.world);
            commit = Some(Commit {
                replaced_from: history::replaced_from(&revisions),
                ..commit_of(worlds, record, replaced)
            });
        }
        let known = Arc::clone(current);
        // Compiled before it is written: what cannot be compiled must not be what the next start finds.
        let mut next = off_thread(move || {
            Configuration::new(
                Some(&known),
                reading.world,
                revisions,
                reading.rejected,
                reading.remarks,
            )
        })
        .await?;
        match commit {
            Some(commit) => self.write(commit).await?,
            // The same content: streams need not look at it again.
            None => next.configured = current.configured.clone(),
        }
        Ok(self.come_into_force(next))
    }

    async fn write(&self, commit: Commit) -> Result<(), StoreError> {
        let number = commit.revision.number;
        let changed = commit.accepted.len() + commit.deleted.len();
        let state = self.clone();
        off_thread(move || state.0.store.commit(&commit)).await??;
        info!(revision = number, changed, "configuration accepted");
        Ok(())
    }

    /// Puts it in force; streams look at it if it is not what they know.
    fn come_into_force(&self, next: Configuration) -> Revision {
        let revision = next.configured.revision.clone();
        let in_force = self.0.configuration.load_full();
        let is_seen = !Arc::ptr_eq(&in_force.configured, &next.configured);
        self.0.configuration.store(Arc::new(next));
        if is_seen {
            self.changed();
        }
        revision
    }

    /// The held configuration stays in force, or comes into force if another control plane has decided to hold it. What a
    /// directory has otherwise is told of.
    fn hold(&self, current: &Configuration, waits: Option<Reading>) {
        let mut next = current.with(current.rejected.clone());
        if let Some(reading) = waits {
            (next.waiting, next.rejected) = (reading.changed, reading.rejected);
        }
        self.come_into_force(next);
    }

    /// Says of a directory that it cannot be read; what is in force stays.
    pub(super) fn complain(&self, directory: &Path, error: &io::Error) {
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
        let next = current.with(vec![rejected]);
        // Somebody else has just accepted a configuration: then it can be read.
        self.0
            .configuration
            .compare_and_swap(&current, Arc::new(next));
    }
}

/// What a directory says, and of what it cannot be known: a file of which no text can be had may go without a text changing.
fn said_by(parsed: &Parsed) -> (BTreeMap<PathBuf, Arc<str>>, Vec<PathBuf>) {
    (parsed.sources.clone(), parsed.unreadable.clone())
}

/// What is to come into force.
pub(super) struct Next {
    /// Of the reading's world.
    pub(super) digest: String,
    /// The revision that is held from then on.
    pub(super) pinned: Option<u64>,
    pub(super) reading: Reading,
}

fn replaced(old: &World, new: &World) -> Replaced {
    let objects = beside(&old.objects, &new.objects).filter(|(_, was, is)| was != is);
    let objects = objects.map(|(key, was, _)| (key.clone(), was.map(Accepted::stored)));
    Replaced {
        objects: objects.collect(),
        denied: old.denied.clone(),
    }
}

fn commit_of((old, new): (&World, &World), revision: RevisionRecord, replaced: Replaced) -> Commit {
    let (mut accepted, mut deleted) = (BTreeMap::new(), Vec::new());
    for (key, was, is) in beside(&old.objects, &new.objects) {
        match is {
            Some(is) if was != Some(is) => drop(accepted.insert(key.clone(), is.stored())),
            Some(_) => {}
            None => deleted.push(key.clone()),
        }
    }
    Commit {
        replaced_from: revision.number,
        revision,
        accepted,
        deleted,
        denied: new.denied.clone(),
        addresses: new.addresses.clone(),
        deleted_services: new.deleted.clone(),
        replaced,
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
