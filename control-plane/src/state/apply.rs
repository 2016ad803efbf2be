//! A configuration is decided upon, and decided upon again when another control plane was faster.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::info;
use usher_config::{model::Revision, parse::Parsed};

use crate::{
    registry::{
        Remarks, StoreError, World, complaints::unguarded_objects, store::Origin, world::Reading,
    },
    status::RejectedObject,
};

use super::{Configuration, State, configure::off_thread};

/// How often others may be faster. Each of these times somebody's configuration went into force.
pub(super) const CONFLICTS_MAX: u32 = 10;

/// What became of a configuration that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is in force, with this number.
    New(Revision),
    /// It says what is in force already.
    Unchanged(Revision),
    /// This revision is held (`usher rollback`); what was brought is not in force.
    Pinned(u64),
    /// It has mistakes, and whoever brought it wants all of it or nothing.
    Refused(Vec<RejectedObject>),
}

/// Whose revision it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    /// Where it comes from.
    pub origin: Origin,
    /// As he says himself.
    pub author: String,
    /// Why, in his words.
    pub message: String,
    /// He knows whom it locks out.
    pub forced: bool,
}

impl State {
    /// Takes in what was parsed: last good versions stay for what is broken, the rest becomes a new revision. The
    /// answer is that revision; `None`: nothing has changed. Whoever calls second is read against what the first has
    /// made, and goes into force after it.
    ///
    /// # Errors
    /// The store did not take it; the old configuration stays.
    pub async fn apply(&self, parsed: Parsed, base: &Path) -> Result<Option<Revision>, StoreError> {
        let by = By {
            origin: Origin::Directory,
            ..By::default()
        };
        self.apply_by(parsed, base, by).await
    }

    /// The same, of another source than a directory.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) async fn apply_by(
        &self,
        parsed: Parsed,
        base: &Path,
        by: By,
    ) -> Result<Option<Revision>, StoreError> {
        let taken = self.take_whole(parsed, base.to_owned(), |_| true, by);
        match taken.await? {
            Decision::New(revision) => Ok(Some(revision)),
            Decision::Unchanged(_) | Decision::Refused(_) | Decision::Pinned(_) => Ok(None),
        }
    }

    /// Takes in what was parsed, whole: one object with a mistake, or a guard that would hold nowhere, and nothing changes. So
    /// a mesh that begins with it begins with all that guards it.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn apply_whole(&self, parsed: Parsed, by: &By) -> Result<Decision, StoreError> {
        let unguarded = unguarded_objects(&parsed, &self.0.configuration.load().world);
        if !unguarded.is_empty() {
            return Ok(Decision::Refused(unguarded));
        }
        let is_whole = |reading: &Reading| reading.rejected.is_empty();
        self.take_whole(parsed, PathBuf::new(), is_whole, by.clone())
            .await
    }

    /// Whoever asked may be gone before it is done; then it is done all the same, whole.
    async fn take_whole(
        &self,
        parsed: Parsed,
        base: PathBuf,
        accepts: fn(&Reading) -> bool,
        by: By,
    ) -> Result<Decision, StoreError> {
        let state = self.clone();
        let task = tokio::spawn(async move { state.take(parsed, &base, accepts, &by).await });
        task.await
            .map_err(|error| StoreError::Storage(Box::new(error)))?
    }

    async fn take(
        &self,
        parsed: Parsed,
        base: &Path,
        accepts: fn(&Reading) -> bool,
        by: &By,
    ) -> Result<Decision, StoreError> {
        let _writing = self.0.writer.lock().await;
        let (parsed, mut current) = (Arc::new(parsed), self.0.configuration.load_full());
        for _ in 0..CONFLICTS_MAX {
            match self.decide(&current, (&parsed, base), accepts, by).await {
                Err(StoreError::Conflict { stored, expected }) => {
                    current = self.overtaken(&current, (stored, expected)).await?;
                }
                decided => return decided,
            }
        }
        self.decide(&current, (&parsed, base), accepts, by).await
    }

    /// What the store holds, now that another control plane was faster.
    pub(super) async fn overtaken(
        &self,
        current: &Arc<Configuration>,
        (stored, expected): (u64, u64),
    ) -> Result<Arc<Configuration>, StoreError> {
        info!(
            stored,
            expected, "another control plane was faster, deciding again"
        );
        Ok(Arc::new(self.stored_configuration(current).await?))
    }

    /// What the store holds now; what of it is `known` is not parsed again. All of it or nothing: without an object that
    /// only another version understands, it would be a configuration that nobody has asked for.
    pub(super) async fn stored_configuration(
        &self,
        known: &Arc<Configuration>,
    ) -> Result<Configuration, StoreError> {
        let (state, known) = (self.clone(), Arc::clone(known));
        off_thread(move || {
            let stored = state.0.store.load()?;
            let (mut world, unreadable) = World::restored_after(&stored, &known.world);
            if let Some(error) = StoreError::not_understood(&unreadable) {
                return Err(error);
            }
            // Of a store that was emptied: our identities carry it all the same.
            let domain = known.world.fixed_domain.as_ref();
            world.fixed_domain = world.fixed_domain.or_else(|| domain.cloned());
            let revisions = stored.revisions;
            Ok(Configuration::new(
                Some(&known),
                world,
                revisions,
                Vec::new(),
                Remarks::default(),
            ))
        })
        .await?
    }
}
