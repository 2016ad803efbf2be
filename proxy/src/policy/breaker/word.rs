//! The breaker's state as one atomic word that all workers move by the pure rule.

use crate::atomic::{AtomicU64, Ordering};

use super::state::{Event, Moment, Rules, State};

/// A [`State`] that many threads may step.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

/// One step as it happened: nobody else's step lies between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) before: State,
    pub(crate) after: State,
}

impl Word {
    pub(crate) fn new(state: State) -> Self {
        Self(AtomicU64::new(state.pack()))
    }

    pub(crate) fn load(&self) -> State {
        State::unpack(self.0.load(Ordering::Acquire))
    }

    /// Steps; writes only if something changes, so asking a closed breaker stays a read.
    pub(crate) fn apply(&self, event: Event, at: Moment, rules: &Rules) -> Step {
        let step = |word: u64| {
            let next = State::unpack(word).step(event, at, rules).pack();
            (next != word).then_some(next)
        };
        let word = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        let before = State::unpack(word.unwrap_or_else(|unchanged| unchanged));
        Step {
            before,
            after: before.step(event, at, rules),
        }
    }
}
