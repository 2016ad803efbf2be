//! A store that forgets: for tests, and for `usher serve` runs that are meant to leave nothing behind.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use usher_config::value::TrustDomain;

use super::{
    history::Replaced,
    store::{Commit, HISTORY, Store, StoreError, Stored},
};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    stored: Stored,
    replaced: BTreeMap<u64, Replaced>,
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As a backup does.
    #[cfg(test)]
    pub(crate) fn restore(&self, stored: Stored) {
        self.kept().stored = stored;
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Stored, StoreError> {
        Ok(self.kept().stored.clone())
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let stored = &mut kept.stored;
        let number = stored.number();
        if number + 1 != commit.revision.number {
            return Err(StoreError::Conflict {
                stored: number,
                expected: commit.revision.number.saturating_sub(1),
            });
        }
        for name in &commit.deleted {
            stored.objects.remove(name);
        }
        for (name, object) in &commit.accepted {
            stored.objects.insert(name.clone(), object.clone());
        }
        stored.denied = commit.denied.clone();
        stored.addresses = commit.addresses.clone();
        stored.deleted = commit.deleted_services.clone();
        stored.revisions.push(commit.revision.clone());
        let excess = stored.revisions.len().saturating_sub(HISTORY);
        stored.revisions.drain(..excess);
        let number = commit.revision.number;
        kept.replaced.insert(number, commit.replaced.clone());
        kept.replaced = kept.replaced.split_off(&commit.replaced_from);
        Ok(())
    }

    fn replaced(&self, number: u64) -> Result<Replaced, StoreError> {
        Ok(self
            .kept()
            .replaced
            .get(&number)
            .cloned()
            .unwrap_or_default())
    }

    fn set_trust_domain(&self, domain: &TrustDomain) -> Result<(), StoreError> {
        self.kept().stored.trust_domain = Some(domain.clone());
        Ok(())
    }
}
