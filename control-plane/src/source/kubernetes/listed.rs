//! What a watch has told of one kind: a list that is read is in force once it was read whole, never while it grows. Pure.
//!
//! So a watch that begins anew, or breaks off in the middle of a list, takes nothing away: what was there stays until somebody
//! knows better. A list that is longer than can be is never in force.

use std::collections::BTreeMap;

/// How much of one kind is kept: far beyond what a cluster has, so that what goes wrong there cannot fill our memory.
pub(super) const OBJECTS_MAX: usize = 200_000;

/// By key.
#[derive(Debug)]
pub(super) struct Listed<K, T> {
    /// What counts.
    pub(super) all: BTreeMap<K, T>,
    /// While a list is read anew.
    pub(super) coming: Option<BTreeMap<K, T>>,
    /// It was read whole once.
    pub(super) is_whole: bool,
    /// There is more than is kept.
    pub(super) is_beyond: bool,
}

impl<K, T> Default for Listed<K, T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            coming: None,
            is_whole: false,
            is_beyond: false,
        }
    }
}

impl<K: Ord, T> Listed<K, T> {
    /// A list begins.
    pub(super) fn begins(&mut self) {
        (self.coming, self.is_beyond) = (Some(BTreeMap::new()), false);
    }

    /// It is there, and is this; what it was before.
    pub(super) fn is(&mut self, key: K, what: T) -> Option<T> {
        let all = self.coming.as_mut().unwrap_or(&mut self.all);
        if all.len() >= OBJECTS_MAX && !all.contains_key(&key) {
            self.is_beyond = true;
            return None;
        }
        all.insert(key, what)
    }

    /// It is there no more, or of no interest; what it was before.
    pub(super) fn is_not(&mut self, key: &K) -> Option<T> {
        self.coming.as_mut().unwrap_or(&mut self.all).remove(key)
    }

    /// A list has ended; whether it counts.
    pub(super) fn is_whole(&mut self) -> bool {
        let coming = self.coming.take().filter(|_| !self.is_beyond);
        let Some(coming) = coming else {
            return false;
        };
        (self.all, self.is_whole) = (coming, true);
        true
    }
}

#[cfg(test)]
mod tests;
