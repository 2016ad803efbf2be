//! Which series there are, and how many there may be.
//!
//! Readers (scrapes, handshakes that find their series) never wait; writers copy the map, which is small
//! and changes rarely. Series that nobody holds any more stay for a while, so that a service that is called
//! once a minute keeps its history, then go.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use super::{
    IDLE, Row, SERIES_MAX,
    cells::{Make, Series},
};
use crate::clock::Tick;

/// How many series may still begin.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU32,
    refused: AtomicU64,
}

impl Budget {
    fn new(most: u32) -> Self {
        Self {
            left: AtomicU32::new(most),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes places for `count` series, or counts a refusal.
    pub(super) fn take(&self, count: u32) -> bool {
        let taken = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(count))
            .is_ok();
        if !taken {
            self.refused.fetch_add(1, Relaxed);
        }
        taken
    }

    pub(super) fn give_back(&self, count: u32) {
        self.left.fetch_add(count, Relaxed);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Series that exist.
    #[cfg(test)]
    pub(super) fn used(&self) -> u32 {
        SERIES_MAX - self.left.load(Relaxed)
    }
}

type Labels = Arc<[Box<str>]>;

#[derive(Debug, Clone)]
struct Entry {
    series: Series,
    /// Milliseconds since a sweep first found that nobody holds it; 0: somebody does.
    released_ms: Arc<AtomicU64>,
}

type Map = HashMap<(Row, Labels), Entry>;

#[derive(Debug)]
pub(super) struct Registry {
    series: ArcSwap<Map>,
    budget: Arc<Budget>,
    shards: usize,
}

const OVERFLOW: &str = "overflow";

impl Registry {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            series: ArcSwap::default(),
            budget: Arc::new(Budget::new(SERIES_MAX)),
            shards,
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Finds or makes a series; beyond the budget, its family's `overflow`.
    pub(super) fn handle<T>(&self, row: Row, labels: &[&str], make: Make<T>) -> Arc<T> {
        if let Some(found) = self.find(row, labels, &make) {
            return found;
        }
        if self.budget.take(make.cost) {
            return self.insert(row, labels, &make);
        }
        let overflow: Vec<&str> = labels.iter().map(|_| OVERFLOW).collect();
        match self.find(row, &overflow, &make) {
            Some(found) => found,
            None => self.insert(row, &overflow, &make),
        }
    }

    fn find<T>(&self, row: Row, labels: &[&str], make: &Make<T>) -> Option<Arc<T>> {
        let map = self.series.load();
        let entry = map.get(&(row, boxed(labels)))?;
        entry.released_ms.store(0, Relaxed);
        (make.cell)(&entry.series).cloned()
    }

    fn insert<T>(&self, row: Row, labels: &[&str], make: &Make<T>) -> Arc<T> {
        let fresh = Entry {
            series: (make.new)(self.shards, &self.budget),
            released_ms: Arc::default(),
        };
        loop {
            let current = self.series.load_full();
            let mut next = Map::clone(&current);
            let entry = next
                .entry((row, boxed(labels)))
                .or_insert_with(|| fresh.clone());
            if let Some(cell) = (make.cell)(&entry.series).cloned() {
                let previous = self.series.compare_and_swap(&current, Arc::new(next));
                if Arc::ptr_eq(&previous, &current) {
                    return cell;
                }
            } else {
                // One row has one kind, so this is unreachable; replacing keeps it total.
                self.series.rcu(|map| {
                    let mut map = Map::clone(map);
                    map.insert((row, boxed(labels)), fresh.clone());
                    map
                });
            }
        }
    }

    /// Drops what nobody has held for [`IDLE`].
    pub(super) fn sweep(&self, now: Tick) {
        let idle = |entry: &Entry| {
            if !entry.series.is_released() {
                entry.released_ms.store(0, Relaxed);
                return false;
            }
            let since = entry.released_ms.load(Relaxed);
            if since == 0 {
                entry.released_ms.store(now.as_millis().max(1), Relaxed);
                return false;
            }
            now.since(Tick::from_millis(since)) >= IDLE
        };
        if !self.series.load().values().any(idle) {
            return;
        }
        // A handshake may take a handle between the look and the swap; then its counts are not exposed
        // until it takes another. Nobody had counted there for ten minutes: cheaper than a lock.
        let current = self.series.load_full();
        let next: Map = current
            .iter()
            .filter(|(_, e)| !idle(e))
            .map(|(k, e)| (k.clone(), e.clone()))
            .collect();
        let previous = self.series.compare_and_swap(&current, Arc::new(next));
        if Arc::ptr_eq(&previous, &current) {
            let freed = current
                .values()
                .filter(|entry| idle(entry))
                .map(|entry| entry.series.cost())
                .sum();
            self.budget.give_back(freed);
        }
    }

    /// All series by family, in the table's order, labels sorted: scrapes can be compared.
    pub(super) fn by_family(&self) -> BTreeMap<Row, Vec<(Labels, Series)>> {
        let mut families: BTreeMap<Row, Vec<(Labels, Series)>> = BTreeMap::new();
        for ((row, labels), entry) in self.series.load().iter() {
            families
                .entry(*row)
                .or_default()
                .push((labels.clone(), entry.series.clone()));
        }
        for series in families.values_mut() {
            series.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        families
    }
}

fn boxed(labels: &[&str]) -> Labels {
    labels.iter().map(|label| Box::from(*label)).collect()
}
