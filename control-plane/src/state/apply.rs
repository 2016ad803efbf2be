//! A configuration is decided upon, and decided upon again when another control plane was faster.

use std::{path::Path, sync::Arc};

use tracing::info;
use usher_config::{model::Revision, parse::Parsed};

use crate::{
    registry::{StoreError, World, world::Reading},
    status::RejectedObject,
};

use super::{Configuration, State, configure::off_thread};

/// How often others may be faster. Each of these times somebody's configuration went into force.
const CONFLICTS_MAX: u32 = 10;

/// What became of a configuration that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is in force, with this number.
    New(Revision),
    /// It says what is in force already.
    Unchanged(Revision),
    /// It has mistakes, and whoever brought it wants all of it or nothing.
    Refused(Vec<RejectedObject>),
}

impl State {
    /// Takes in what was parsed: last good versions stay for what is broken, the rest becomes a new revision. The
    /// answer is that revision; `None`: nothing has changed. Whoever calls second is read against what the first has
    /// made, and goes into force after it.
    ///
    /// # Errors
    /// The store did not take it; the old configuration stays.
    pub async fn apply(&self, parsed: Parsed, base: &Path) -> Result<Option<Revision>, StoreError> {
        match self.take(parsed, base, |_| true).await? {
            Decision::New(revision) => Ok(Some(revision)),
            Decision::Unchanged(_) | Decision::Refused(_) => Ok(None),
        }
    }

    /// Takes in what was parsed, whole: one object with a mistake, and nothing changes.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn apply_whole(&self, parsed: Parsed) -> Result<Decision, StoreError> {
        let is_whole = |reading: &Reading| reading.rejected.is_empty();
        self.take(parsed, Path::new(""), is_whole).await
    }

    async fn take(
        &self,
        parsed: Parsed,
        base: &Path,
        accepts: fn(&Reading) -> bool,
    ) -> Result<Decision, StoreError> {
        let _writing = self.0.writer.lock().await;
        let (parsed, mut current) = (Arc::new(parsed), self.0.configuration.load_full());
        for _ in 0..CONFLICTS_MAX {
            match self.decide(&current, (&parsed, base), accepts).await {
                Err(StoreError::Conflict { stored, expected }) => {
                    info!(
                        stored,
                        expected, "another control plane was faster, deciding again"
                    );
                    current = Arc::new(self.stored_configuration(&current).await?);
                }
                decided => return decided,
            }
        }
        self.decide(&current, (&parsed, base), accepts).await
    }

    /// What the store holds now; what of it is `known` is not parsed again.
    pub(super) async fn stored_configuration(
        &self,
        known: &Arc<Configuration>,
    ) -> Result<Configuration, StoreError> {
        let (state, known) = (self.clone(), Arc::clone(known));
        off_thread(move || {
            let stored = state.0.store.load()?;
            let (mut world, _) = World::restored_after(&stored, &known.world);
            // Of a store that was emptied: our identities carry it all the same.
            let domain = known.world.fixed_domain.as_ref();
            world.fixed_domain = world.fixed_domain.or_else(|| domain.cloned());
            let revisions = stored.revisions;
            Ok(Configuration::new(world, revisions, Vec::new(), Vec::new()))
        })
        .await?
    }
}
