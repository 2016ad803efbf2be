//! What other control planes commit comes into force here.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};
use usher_config::model::Revision;

use crate::{
    registry::{StoreError, store::RevisionRecord},
    state::{Inner, State},
    status::Condition,
};

/// Between attempts to load what others committed.
const AGAIN: Duration = Duration::from_secs(1);

/// For ever.
pub(super) async fn follow_configuration(
    state: Weak<Inner>,
    mut committed: watch::Receiver<Revision>,
) {
    loop {
        let newest = committed.borrow_and_update().clone();
        let Some(current) = state.upgrade().map(State) else {
            return;
        };
        let pause = match current.catch_up(&newest).await {
            Ok(()) => None,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(
                    error,
                    revision = newest.number,
                    "cannot load what another control plane committed"
                );
                Some(AGAIN)
            }
        };
        drop(current);
        match pause {
            Some(pause) => sleep(pause).await,
            None if committed.changed().await.is_err() => return,
            None => {}
        }
    }
}

impl State {
    pub(super) async fn catch_up(&self, newest: &Revision) -> Result<(), StoreError> {
        let _writing = self.0.writer.lock().await;
        let current = self.0.configuration.load_full();
        if current.configured.revision == *newest {
            self.0.gap.store(None);
            return Ok(());
        }
        // Not what was heard of counts, but what is there by now.
        let next = self.stored_configuration(&current).await;
        if let Err(error @ (StoreError::NotUnderstood { .. } | StoreError::Unreadable { .. })) =
            &next
        {
            let serving = current.configured.revision.clone();
            let gap = Gap::unreadable(newest.number, error, serving);
            self.0.gap.store(Some(Arc::new(gap)));
        }
        let next = next?;
        let revision = next.configured.revision.number;
        if is_set_back(&next.revisions, &current.revisions) {
            let serving = current.configured.revision.clone();
            error!(
                stored = revision,
                serving = serving.number,
                "the store was set back or emptied; serving what was known until something is applied"
            );
            let gap = Gap::set_back(revision, serving);
            self.0.gap.store(Some(Arc::new(gap)));
            return Ok(());
        }
        self.0.gap.store(None);
        if next.configured.revision != current.configured.revision {
            self.0.configuration.store(Arc::new(next));
            self.changed();
            info!(revision, "configuration of another control plane in force");
        }
        Ok(())
    }

    /// Why what the store holds is not in force here, if it is not.
    pub(in crate::state) fn gap(&self, in_force: &Revision) -> Option<Condition> {
        let gap = self.0.gap.load_full()?;
        // What has come into force since then, by a command here, has ended it.
        (gap.serving == *in_force).then(|| gap.condition.clone())
    }
}

/// What the store holds is not in force here.
#[derive(Debug)]
pub(in crate::state) struct Gap {
    /// What is.
    serving: Revision,
    condition: Condition,
}

impl Gap {
    fn set_back(stored: u64, serving: Revision) -> Self {
        let holds = match stored {
            0 => "is empty".to_owned(),
            number => format!("was set back to revision {number}"),
        };
        let number = serving.number;
        let message = format!(
            "it {holds}; revision {number} is served as before. Restore a backup that has it, or put all of the \
             configuration in force again (`usher apply`): control planes that start now know what the store holds only"
        );
        Self::new("StoreSetBack", message, serving)
    }

    fn unreadable(stored: u64, error: &StoreError, serving: Revision) -> Self {
        let number = serving.number;
        let message =
            format!("revision {number} is served as before, and not revision {stored}: {error}");
        Self::new("StoreUnreadable", message, serving)
    }

    fn new(reason: &str, message: String, serving: Revision) -> Self {
        let condition = Condition {
            object: "store".to_owned(),
            reason: reason.to_owned(),
            message,
        };
        Self { serving, condition }
    }
}

/// Whether a store that holds these revisions is one from before ours: its newest one is among ours, but not the last.
/// One with a lower number that is not ours was made after the store was set back, and counts.
fn is_set_back(stored: &[RevisionRecord], ours: &[RevisionRecord]) -> bool {
    let Some(in_force) = ours.last() else {
        return false;
    };
    let Some(newest) = stored.last() else {
        return true;
    };
    if newest.number >= in_force.number {
        return false;
    }
    match ours.iter().find(|one| one.number == newest.number) {
        Some(one) => one == newest,
        // Longer ago than we remember.
        None => newest.accepted_at <= in_force.accepted_at,
    }
}

#[cfg(test)]
mod tests;
