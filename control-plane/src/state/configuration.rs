//! The accepted configuration, and what became of it.

use std::sync::Arc;

use usher_config::model::Revision;

use crate::{
    compile::{Compiled, compile},
    registry::{World, store::RevisionRecord},
    snapshot::Configured,
    status::{Condition, RejectedObject},
};

/// The accepted configuration and what became of it. Never changes; replaced whole.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) world: World,
    pub(super) compiled: Compiled,
    pub(super) configured: Arc<Configured>,
    pub(super) revisions: Vec<RevisionRecord>,
    pub(super) rejected: Vec<RejectedObject>,
    pub(super) remarks: Vec<Condition>,
    /// While a revision is held: objects that the source has otherwise, at most 100 names.
    pub(super) waiting: Vec<String>,
}

impl Configuration {
    pub(super) fn new(
        world: World,
        revisions: Vec<RevisionRecord>,
        rejected: Vec<RejectedObject>,
        remarks: Vec<Condition>,
    ) -> Self {
        let compiled = compile(&world);
        let newest = revisions.last();
        let revision = Revision {
            number: newest.map_or(0, |record| record.number),
            digest: newest
                .map(|record| record.digest.clone())
                .unwrap_or_default(),
        };
        let configured = Arc::new(Configured::new(&compiled, revision));
        Self {
            world,
            compiled,
            configured,
            revisions,
            rejected,
            remarks,
            waiting: Vec::new(),
        }
    }

    /// The same configuration with other words about what its source says.
    pub(super) fn with(&self, rejected: Vec<RejectedObject>, remarks: Vec<Condition>) -> Self {
        Self {
            world: self.world.clone(),
            compiled: self.compiled.clone(),
            configured: self.configured.clone(),
            revisions: self.revisions.clone(),
            rejected,
            remarks,
            waiting: self.waiting.clone(),
        }
    }

    /// The revision that is held.
    pub(super) fn pinned(&self) -> Option<u64> {
        self.revisions.last()?.pinned
    }
}
