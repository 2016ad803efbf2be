//! The mesh as it was a moment ago, for everybody who looks: looked at off the async threads, once for all who ask at once.
//!
//! With 5,000 sidecars and 10,000 objects one look takes a tenth of a second, and `usher wait`, dashboards and scrapes look
//! all the time. So what was seen is shown again for ten times as long as it took to see, a second at most. What
//! somebody has just changed he sees at once: configuration always, registrations but for the time of two looks.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    registry::StoreError,
    status::{ObjectReport, StatusReport},
};

use super::super::{Configuration, State, configure::off_thread};

/// What is seen at one moment.
#[derive(Debug)]
pub struct Shown {
    /// Everything but single objects.
    pub status: StatusReport,
    /// What became of each object.
    pub objects: Vec<ObjectReport>,
    json: OnceLock<Bytes>,
}

/// Looking takes a tenth of the time while nothing but sidecars' progress changes ...
const PAUSE_FACTOR: u32 = 10;

/// ... and half of it while registrations do.
const CHANGED_FACTOR: u32 = 2;

/// Nobody is shown anything older.
const AGE_MAX: Duration = Duration::from_secs(1);

/// A look that takes no longer is worth it for every change.
const QUICK: Duration = Duration::from_millis(20);

/// What was looked at: if it is the same, so is the answer, but for what time and renewals change.
#[derive(Debug, Clone)]
struct Seen {
    configuration: Arc<Configuration>,
    /// Of configuration, registrations and roots.
    generation: u64,
    /// Of sidecars.
    progress: u64,
}

/// What was shown last.
#[derive(Debug)]
pub(in crate::state) struct Kept {
    shown: Arc<Shown>,
    seen: Seen,
    began: Instant,
    took: Duration,
}

impl Kept {
    /// Whether it does for who asks now, when the mesh is at `seen`. Pure.
    fn holds(&self, seen: &Seen, now: Instant) -> bool {
        if !Arc::ptr_eq(&self.seen.configuration, &seen.configuration) {
            return false;
        }
        let is_same = self.seen.generation == seen.generation;
        let factor = match is_same {
            true => PAUSE_FACTOR,
            false => CHANGED_FACTOR,
        };
        let has_changed = !is_same || self.seen.progress != seen.progress;
        let age = now.saturating_duration_since(self.began);
        age < (self.took * factor).min(AGE_MAX) && !(has_changed && self.took < QUICK)
    }
}

impl State {
    /// The mesh, not older than a second, and never without the newest configuration.
    ///
    /// # Errors
    /// Looking failed, by a mistake of ours.
    pub async fn shown(&self) -> Result<Arc<Shown>, StoreError> {
        // Who asks while somebody looks waits, and has the same.
        let mut kept = self.0.shown.lock().await;
        let (seen, began) = (self.seen(), Instant::now());
        if let Some(kept) = kept.as_ref().filter(|kept| kept.holds(&seen, began)) {
            return Ok(Arc::clone(&kept.shown));
        }
        let state = self.clone();
        let shown = off_thread(move || {
            let (status, objects) = state.look();
            Arc::new(Shown {
                status,
                objects,
                json: OnceLock::new(),
            })
        });
        let shown = shown.await?;
        *kept = Some(Kept {
            shown: Arc::clone(&shown),
            seen,
            began,
            took: began.elapsed(),
        });
        Ok(shown)
    }

    /// [`Shown::status`] as JSON, which is megabytes of a large mesh: written once, too.
    ///
    /// # Errors
    /// As [`State::shown`].
    pub async fn shown_status_json(&self) -> Result<Bytes, StoreError> {
        let shown = self.shown().await?;
        if let Some(json) = shown.json.get() {
            return Ok(json.clone());
        }
        off_thread(move || {
            // Plain data: it can always be written.
            let write = || serde_json::to_vec(&shown.status).unwrap_or_default().into();
            shown.json.get_or_init(write).clone()
        })
        .await
    }

    fn seen(&self) -> Seen {
        Seen {
            configuration: self.0.configuration.load_full(),
            generation: self.0.generation.load(Ordering::SeqCst),
            progress: *self.0.connected.progress().borrow(),
        }
    }
}

#[cfg(test)]
mod tests;
