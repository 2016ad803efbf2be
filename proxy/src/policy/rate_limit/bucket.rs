//! One key's bucket: a word that all workers move, and that says when it has left the table.

use crate::atomic::{AtomicU64, Ordering};

/// The word of a bucket that has left the table.
const GONE: u64 = u64::MAX;

/// One key's; see `rate` for what the word says.
#[derive(Debug)]
pub(crate) struct Bucket {
    key: u128,
    full_at: AtomicU64,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Done.
    To,
    /// The rule refused; what the word said.
    Refused(u64),
    /// The bucket has left the table.
    Gone,
}

impl Bucket {
    pub(crate) fn new(key: u128) -> Self {
        Self {
            key,
            full_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn key(&self) -> u128 {
        self.key
    }

    /// What the word says; of one that has left, more than any other.
    pub(crate) fn full_at(&self) -> u64 {
        self.full_at.load(Ordering::SeqCst)
    }

    /// Moves the word by the rule.
    pub(crate) fn step(&self, step: impl Fn(u64) -> Option<u64>) -> Moved {
        let step = |word| if word == GONE { None } else { step(word) };
        match self
            .full_at
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
        {
            Ok(_) => Moved::To,
            Err(GONE) => Moved::Gone,
            Err(full_at) => Moved::Refused(full_at),
        }
    }

    /// Whether it has left, or leaves now because it has its whole burst.
    pub(crate) fn leaves(&self, now: u64) -> bool {
        let word = self.full_at();
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        word == GONE
            || word <= now
                && self
                    .full_at
                    .compare_exchange(word, GONE, success, failure)
                    .is_ok()
    }

    /// It leaves whatever it says.
    pub(crate) fn forget(&self) {
        self.full_at.store(GONE, Ordering::SeqCst);
    }
}
