//! Where numbers are kept: per worker, in cache lines of their own, summed only by a scrape.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{BOUNDS_US, registry::Budget};
use crate::error::Flag;

/// `N` numbers per worker, no two workers in one cache line.
#[derive(Debug)]
struct Shards<const N: usize>(Box<[Shard<N>]>);

#[derive(Debug)]
#[repr(align(64))]
struct Shard<const N: usize>([AtomicU64; N]);

impl<const N: usize> Shards<N> {
    fn new(count: usize) -> Self {
        let shard = |_| Shard(std::array::from_fn(|_| AtomicU64::new(0)));
        Self((0..count.max(1)).map(shard).collect())
    }

    /// The last shard is for everybody who is no worker.
    fn add(&self, worker: usize, slot: usize, amount: u64) {
        let shard = self.0.get(worker.min(self.0.len() - 1));
        if let Some(cell) = shard.and_then(|shard| shard.0.get(slot)) {
            cell.fetch_add(amount, Relaxed);
        }
    }

    fn sum(&self, slot: usize) -> u64 {
        self.0
            .iter()
            .filter_map(|shard| shard.0.get(slot))
            .map(|cell| cell.load(Relaxed))
            .sum()
    }
}

#[derive(Debug)]
pub(super) struct CounterCell(Shards<1>);

impl CounterCell {
    pub(super) fn add(&self, worker: usize, amount: u64) {
        self.0.add(worker, 0, amount);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.sum(0)
    }
}

#[derive(Debug)]
pub(super) struct GaugeCell(AtomicI64);

impl GaugeCell {
    pub(super) fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn add(&self, difference: i64) {
        self.0.fetch_add(difference, Relaxed);
    }

    pub(super) fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Distinct last labels of one series before `overflow`: attempts have fourteen.
const OUTCOMES: usize = 16;

/// The first last label was paid for when the series was made, so that unused handles count too.
const fn price(slot: usize) -> u32 {
    if slot == 0 { 0 } else { 1 }
}

#[derive(Debug)]
pub(super) struct OutcomeCell {
    names: [OnceLock<&'static str>; OUTCOMES],
    counts: Shards<{ OUTCOMES + 1 }>,
    budget: Arc<Budget>,
}

impl OutcomeCell {
    pub(super) fn add(&self, worker: usize, outcome: &'static str, amount: u64) {
        let slot = self.slot(outcome);
        self.counts.add(worker, slot.unwrap_or(OUTCOMES), amount);
    }

    fn slot(&self, outcome: &'static str) -> Option<usize> {
        for (slot, name) in self.names.iter().enumerate() {
            if name.get().is_none() {
                if !self.pay(slot) {
                    return None;
                }
                // Of two workers that name the same place at once, the loser looks at what it became.
                if name.set(outcome).is_err() {
                    self.budget.give_back(price(slot));
                }
            }
            if name.get() == Some(&outcome) {
                return Some(slot);
            }
        }
        None
    }

    fn pay(&self, slot: usize) -> bool {
        self.budget.take(price(slot))
    }

    /// Outcome and count; the overflow only if there is one.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = self
            .names
            .iter()
            .enumerate()
            .filter_map(|(slot, name)| name.get().map(|name| (*name, self.counts.sum(slot))));
        let overflow =
            Some(("overflow", self.counts.sum(OUTCOMES))).filter(|(_, count)| *count > 0);
        named.chain(overflow)
    }
}

/// Distinct pairs of code and flag of one series before `overflow`. A REST route has a dozen codes on a healthy day, and an
/// incident adds as many flags: it must not find the places taken.
const PAIRS: usize = 32;

/// Requests by code and flag.
#[derive(Debug)]
pub(super) struct KeyedCell {
    /// `code << 8 | flag's position + 1`; 0: free.
    keys: [AtomicU32; PAIRS],
    counts: Shards<{ PAIRS + 1 }>,
    budget: Arc<Budget>,
}

impl KeyedCell {
    pub(super) fn add(&self, worker: usize, code: u16, flag: Option<Flag>) {
        let key = u32::from(code) << 8 | flag.map_or(0, |flag| flag as u32 + 1);
        let slot = self.slot(key);
        self.counts.add(worker, slot.unwrap_or(PAIRS), 1);
    }

    fn slot(&self, key: u32) -> Option<usize> {
        for (slot, cell) in self.keys.iter().enumerate() {
            let mut found = cell.load(Relaxed);
            if found == 0 {
                if !self.pay(slot) {
                    return None;
                }
                found = match cell.compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => key,
                    Err(taken) => {
                        self.budget.give_back(price(slot));
                        taken
                    }
                };
            }
            if found == key {
                return Some(slot);
            }
        }
        None
    }

    fn pay(&self, slot: usize) -> bool {
        self.budget.take(price(slot))
    }

    /// Code, flag and count; `None` for the overflow, only if there is one.
    pub(super) fn values(&self) -> impl Iterator<Item = (Option<(u32, Option<Flag>)>, u64)> {
        let named = self.keys.iter().enumerate().filter_map(|(slot, key)| {
            let key = key.load(Relaxed);
            let flag = usize::try_from(key & 0xff).ok()?.checked_sub(1);
            let flag = flag.and_then(|position| Flag::ALL.get(position)).copied();
            (key > 0).then(|| (Some((key >> 8, flag)), self.counts.sum(slot)))
        });
        let overflow = Some((None, self.counts.sum(PAIRS))).filter(|(_, count)| *count > 0);
        named.chain(overflow)
    }
}

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Buckets, and the sum in microseconds.
#[derive(Debug)]
pub(super) struct HistogramCell(Shards<{ BUCKETS + 1 }>);

impl HistogramCell {
    pub(super) fn observe(&self, worker: usize, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.add(
            worker,
            BOUNDS_US.partition_point(|bound| *bound < micros),
            1,
        );
        self.0.add(worker, BUCKETS, micros);
    }

    /// Counts per bucket (not cumulative), the last one unbounded; and the sum in seconds.
    pub(super) fn values(&self) -> ([u64; BUCKETS], f64) {
        let seconds = Duration::from_micros(self.0.sum(BUCKETS)).as_secs_f64();
        (std::array::from_fn(|slot| self.0.sum(slot)), seconds)
    }
}

/// One entry of the registry.
#[derive(Debug, Clone)]
pub(super) enum Series {
    Counter(Arc<CounterCell>),
    Outcomes(Arc<OutcomeCell>),
    Requests(Arc<KeyedCell>),
    Gauge(Arc<GaugeCell>),
    Histogram(Arc<HistogramCell>),
}

/// How a kind of series is made, found again, and what it costs before its first use.
pub(super) struct Make<T> {
    pub(super) new: fn(usize, &Arc<Budget>) -> Series,
    pub(super) cell: fn(&Series) -> Option<&Arc<T>>,
    pub(super) cost: u32,
}

macro_rules! make {
    ($name:ident, $variant:ident, $cell:ty, $cost:expr, $new:expr) => {
        #[allow(
            non_upper_case_globals,
            reason = "read as a constructor where it is used"
        )]
        pub(super) const $name: Make<$cell> = Make {
            new: |shards, budget| Series::$variant(Arc::new($new(shards, budget))),
            cell: |series| match series {
                Series::$variant(cell) => Some(cell),
                _ => None,
            },
            cost: $cost,
        };
    };
}

impl Series {
    make!(
        counter,
        Counter,
        CounterCell,
        1,
        |shards, _: &Arc<Budget>| CounterCell(Shards::new(shards))
    );
    make!(gauge, Gauge, GaugeCell, 1, |_, _: &Arc<Budget>| GaugeCell(
        AtomicI64::new(0)
    ));
    make!(histogram, Histogram, HistogramCell, 17, |shards,
                                                    _: &Arc<
        Budget,
    >| {
        HistogramCell(Shards::new(shards))
    });
    make!(outcomes, Outcomes, OutcomeCell, 1, |shards,
                                               budget: &Arc<
        Budget,
    >| OutcomeCell {
        names: std::array::from_fn(|_| OnceLock::new()),
        counts: Shards::new(shards),
        budget: Arc::clone(budget),
    });
    make!(
        requests,
        Requests,
        KeyedCell,
        1,
        |shards, budget: &Arc<Budget>| KeyedCell {
            keys: std::array::from_fn(|_| AtomicU32::new(0)),
            counts: Shards::new(shards),
            budget: Arc::clone(budget),
        }
    );

    /// Whether only the registry holds it.
    pub(super) fn is_released(&self) -> bool {
        let holders = match self {
            Self::Counter(cell) => Arc::strong_count(cell),
            Self::Outcomes(cell) => Arc::strong_count(cell),
            Self::Requests(cell) => Arc::strong_count(cell),
            Self::Gauge(cell) => Arc::strong_count(cell),
            Self::Histogram(cell) => Arc::strong_count(cell),
        };
        holders <= 1
    }

    /// What dropping it gives back to the budget.
    pub(super) fn cost(&self) -> u32 {
        let count = |taken: usize| u32::try_from(taken.max(1)).unwrap_or(1);
        match self {
            Self::Counter(_) => Self::counter.cost,
            Self::Gauge(_) => Self::gauge.cost,
            Self::Histogram(_) => Self::histogram.cost,
            Self::Outcomes(cell) => count(
                cell.names
                    .iter()
                    .filter(|name| name.get().is_some())
                    .count(),
            ),
            Self::Requests(cell) => {
                count(cell.keys.iter().filter(|key| key.load(Relaxed) > 0).count())
            }
        }
    }
}
