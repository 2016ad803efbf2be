//! The accepted configuration, and what became of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use usher_config::{kind::ObjectKey, model::Revision};

use crate::{
    compile::{Compiled, compile},
    registry::{Remarks, World, object_key, store::RevisionRecord},
    snapshot::Configured,
    status::RejectedObject,
};

use super::objects::Reaches;

/// The accepted configuration and what became of it. Never changes; replaced whole.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) world: World,
    pub(super) compiled: Compiled,
    pub(super) configured: Arc<Configured>,
    pub(super) revisions: Vec<RevisionRecord>,
    pub(super) rejected: Vec<RejectedObject>,
    /// Of what is in force.
    pub(super) remarks: Remarks,
    /// While a revision is held: objects that the source has otherwise.
    pub(super) waiting: Vec<ObjectKey>,
    /// The revision in which each object became what it is, as far as is remembered; too new rather than too old.
    pub(super) changed_in: Arc<BTreeMap<ObjectKey, u64>>,
    /// Made when somebody asks.
    pub(super) reach: Arc<OnceLock<Reaches>>,
}

impl Configuration {
    /// `known`: what was in force before.
    pub(super) fn new(
        known: Option<&Self>,
        world: World,
        revisions: Vec<RevisionRecord>,
        rejected: Vec<RejectedObject>,
        remarks: Remarks,
    ) -> Self {
        let compiled = compile(&world);
        let newest = revisions.last();
        let revision = Revision {
            number: newest.map_or(0, |record| record.number),
            digest: newest
                .map(|record| record.digest.clone())
                .unwrap_or_default(),
        };
        let before = known.map(|known| (&known.compiled, &*known.configured));
        let configured = Arc::new(Configured::new(&compiled, revision, before));
        Self {
            changed_in: changed_in(known, &world, &revisions),
            world,
            compiled,
            configured,
            revisions,
            rejected,
            remarks,
            waiting: Vec::new(),
            reach: Arc::default(),
        }
    }

    /// The same configuration with other words about what its source says.
    pub(super) fn with(&self, rejected: Vec<RejectedObject>) -> Self {
        Self {
            world: self.world.clone(),
            compiled: self.compiled.clone(),
            configured: self.configured.clone(),
            revisions: self.revisions.clone(),
            rejected,
            remarks: self.remarks.clone(),
            waiting: self.waiting.clone(),
            changed_in: Arc::clone(&self.changed_in),
            reach: Arc::clone(&self.reach),
        }
    }

    /// The revision that is held.
    pub(super) fn pinned(&self) -> Option<u64> {
        self.revisions.last()?.pinned
    }
}

/// See [`Configuration::changed_in`].
fn changed_in(
    known: Option<&Configuration>,
    world: &World,
    revisions: &[RevisionRecord],
) -> Arc<BTreeMap<ObjectKey, u64>> {
    let newest = revisions.last().map_or(0, |record| record.number);
    let Some(known) = known else {
        return Arc::new(remembered(world, revisions));
    };
    let before = known.configured.revision.number;
    if before == newest {
        return Arc::clone(&known.changed_in);
    }
    let mut all = BTreeMap::clone(&known.changed_in);
    for key in known.world.difference(world) {
        if world.objects.contains_key(&key) || world.denied.contains_key(&key) {
            all.insert(key, newest);
        } else {
            all.remove(&key);
        }
    }
    Arc::new(all)
}

/// From what is written down about revisions, which names some of the objects only.
fn remembered(world: &World, revisions: &[RevisionRecord]) -> BTreeMap<ObjectKey, u64> {
    let mut all = BTreeMap::new();
    let mut unnamed = revisions.first().map_or(0, |record| record.number);
    for record in revisions.iter().rev() {
        let named = record.changed.iter();
        for key in named.filter_map(|name| object_key(name).ok()) {
            all.entry(key).or_insert(record.number);
        }
        if record.names_some_only() {
            unnamed = record.number;
            break;
        }
    }
    let keys = world.objects.keys().chain(world.denied.keys());
    keys.map(|key| (key.clone(), all.get(key).copied().unwrap_or(unnamed)))
        .collect()
}
