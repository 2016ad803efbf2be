//! An endpoint's standing as one atomic word, and its place in the roster: out if and only if reserved.

use crate::{
    atomic::{AtomicU64, Ordering},
    clock::Tick,
};

use super::{
    roster::Roster,
    state::{Event, Rules, Standing, State},
};

#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

/// What one event did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) before: State,
    pub(crate) after: State,
}

/// The bounds on how many may be out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) percent: u8,
    pub(crate) min_ready: u32,
}

impl Word {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(State::NEW.pack()))
    }

    pub(crate) fn load(&self) -> State {
        State::unpack(self.0.load(Ordering::Acquire))
    }

    /// Applies an event that cannot take the endpoint out.
    pub(crate) fn apply(&self, event: Event, now: Tick, roster: &Roster) -> Moved {
        let unused = Rules {
            consecutive_failures: u32::MAX,
            base: std::time::Duration::ZERO,
            max: std::time::Duration::ZERO,
        };
        let step = |word: u64| {
            let next = State::unpack(word).step(event, now, 0, &unused).pack();
            (next != word).then_some(next)
        };
        let word = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        let before = State::unpack(word.unwrap_or_else(|unchanged| unchanged));
        let moved = Moved {
            before,
            after: before.step(event, now, 0, &unused),
        };
        if moved.returned() {
            roster.release();
        }
        moved
    }

    /// Applies an event that may take it out, if the roster has room.
    ///
    /// The place is reserved before the word changes and given back if somebody else changed it first.
    pub(crate) fn apply_bad(
        &self,
        event: Event,
        (now, luck): (Tick, u64),
        rules: &Rules,
        (roster, room): (&Roster, Room),
    ) -> Moved {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let before = State::unpack(word);
            let mut after = before.step(event, now, luck, rules);
            let leaves = before.standing == Standing::In && after.standing == Standing::Out;
            let reserved = leaves && roster.reserve(room.percent, room.min_ready);
            if leaves && !reserved {
                after = before.retained(rules);
            }
            if after == before {
                return Moved { before, after };
            }
            match self
                .0
                .compare_exchange(word, after.pack(), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Moved { before, after },
                Err(current) => word = current,
            }
            if reserved {
                roster.release();
            }
        }
    }
}

impl Moved {
    pub(crate) fn went_out(self) -> bool {
        self.after.standing == Standing::Out
            && (self.before.standing == Standing::In || self.before.times != self.after.times)
    }

    pub(crate) fn returned(self) -> bool {
        self.before.standing != Standing::In && self.after.standing == Standing::In
    }
}
