//! Tells a consumer that is away from a letter that it can't take.
//!
//! A failed delivery alone doesn't show which it is. As long as nothing is answered, each round tries
//! other letters, and each time the newest, so that no number of bad ones hides that the consumer is well.
//! Once it answers, every letter that failed meanwhile gets a strike, and with [`STRIKES_MAX`] of them is
//! itself the cause.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use super::Letter;

/// Failures of one letter, each while others were taken, after which it is set aside.
///
/// More than one, because letters that fail as a consumer stops or starts are as good as any.
pub(super) const STRIKES_MAX: u32 = 3;

/// What is known about letters that failed; forgotten with the process, which costs some more failures.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Failed since the consumer last answered, by sequence.
    open: BTreeMap<i64, Letter>,
    strikes: HashMap<i64, u32>,
    after: i64,
    /// The newest letter, tried out of turn.
    probe: Option<i64>,
}

impl Doubts {
    /// Sequence after which the next round begins.
    pub(super) fn after(&self) -> i64 {
        self.after
    }

    /// All were tried: the next round begins with the first. False when it would have anyway.
    pub(super) fn begin_again(&mut self) -> bool {
        std::mem::take(&mut self.after) != 0
    }

    /// Whether nobody has answered lately; then the newest letter is tried out of turn.
    pub(super) fn is_silent(&self) -> bool {
        !self.open.is_empty()
    }

    /// This letter is tried out of turn: the next round does not begin after it.
    pub(super) fn probe(&mut self, sequence: i64) {
        self.probe = Some(sequence);
    }

    /// Nobody answered: these letters may be bad, or the consumer is away.
    pub(super) fn nobody_answered(&mut self, failed: Vec<Letter>) {
        for letter in failed {
            if self.probe != Some(letter.sequence) {
                self.after = self.after.max(letter.sequence);
            }
            self.open.insert(letter.sequence, letter);
        }
    }

    /// The consumer answered some letters and failed at others; returns those to set aside.
    pub(super) fn answered(&mut self, settled: &[i64], failed: Vec<Letter>) -> Vec<Letter> {
        self.nobody_answered(failed);
        self.after = 0;
        self.probe = None;
        for sequence in settled {
            self.open.remove(sequence);
            self.strikes.remove(sequence);
        }
        let mut guilty = Vec::new();
        for (sequence, letter) in std::mem::take(&mut self.open) {
            let strikes = self.strikes.entry(sequence).or_default();
            *strikes += 1;
            if *strikes >= STRIKES_MAX {
                self.strikes.remove(&sequence);
                guilty.push(letter);
            }
        }
        guilty
    }
}
