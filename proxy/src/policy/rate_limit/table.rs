//! Buckets by key: a table of fixed size, without a lock.
//!
//! Keys fall into sets of sixteen places. A set is an immutable list that is replaced as a whole when a key is new (which is
//! rare: known keys only move their bucket's word), so of two workers that meet a key at the same moment one adds it and the
//! other finds it there: a key never has two buckets, and what all workers let through together holds the limit.
//!
//! When a set is full, buckets that have their whole burst again go first: they say nothing that a new one would not say. If
//! there are none, the one that is nearest to it is forgotten. That cannot help an attacker to more than bursts: a forgotten
//! key begins with a full one, which every other key that he can have gives him as well; and to have one of his keys
//! forgotten he has to fill a set, which he cannot aim at (places are drawn with a secret), with fresher keys than it.
//! A bucket that leaves is marked as gone first, so nobody takes from it who had found it before.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::bucket::{Bucket, Moved};

/// Places of a set: with room for sixteen, sets that are two thirds full on average seldom overflow.
const PLACES: usize = 16;

type Set = Vec<Arc<Bucket>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[ArcSwap<Set>]>,
}

impl Table {
    /// For so many keys, rounded up to whole sets.
    pub(super) fn new(keys_max: u32) -> Self {
        let places = usize::try_from(keys_max).unwrap_or(PLACES);
        let empty = Arc::new(Set::new());
        let sets = 0..places.div_ceil(PLACES).max(1);
        Self {
            sets: sets.map(|_| ArcSwap::new(empty.clone())).collect(),
        }
    }

    /// Moves the key's bucket, which is made if there is none.
    pub(super) fn step(&self, key: u128, now: u64, step: impl Fn(u64) -> Option<u64>) -> Moved {
        let Some(place) = self.place(key) else {
            return Moved::Gone;
        };
        loop {
            let set = place.load();
            let known = set.iter().find(|bucket| bucket.key() == key);
            if let Some(bucket) = known {
                match bucket.step(&step) {
                    Moved::Gone => {}
                    moved => return moved,
                }
            }
            // Whoever replaced it first, the next round finds the key, or tries again.
            let next = Arc::new(with(&set, key, now));
            place.compare_and_swap(&set, next);
        }
    }

    /// Moves the key's bucket if there is one.
    pub(super) fn step_known(&self, key: u128, step: impl Fn(u64) -> Option<u64>) {
        let set = self.place(key).map(ArcSwap::load);
        let known = set.as_ref().and_then(|set| {
            let mut all = set.iter();
            all.find(|bucket| bucket.key() == key)
        });
        if let Some(bucket) = known {
            bucket.step(step);
        }
    }

    /// Keys that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets.iter().map(|set| set.load().len()).sum()
    }

    fn place(&self, key: u128) -> Option<&ArcSwap<Set>> {
        let high = u64::try_from(key >> 64).unwrap_or(0);
        let sets = u64::try_from(self.sets.len()).unwrap_or(1).max(1);
        self.sets.get(usize::try_from(high % sets).ok()?)
    }
}

/// The set with a fresh bucket for `key`.
fn with(set: &Set, key: u128, now: u64) -> Set {
    let mut next = Set::with_capacity(PLACES);
    let stays = |bucket: &&Arc<Bucket>| !bucket.leaves(now);
    next.extend(set.iter().filter(stays).cloned());
    if next.len() >= PLACES {
        let nearest = next.iter().enumerate().min_by_key(|(_, one)| one.full_at());
        if let Some((at, _)) = nearest {
            next.swap_remove(at).forget();
        }
    }
    next.push(Arc::new(Bucket::new(key)));
    next
}
