//! A warning that is worth a line now and then, however often its cause comes.

use std::{cell::Cell, time::Duration};

use crate::clock::Tick;

/// Between two lines of one worker.
const PAUSE: Duration = Duration::from_secs(10);

/// When the last line was written.
#[derive(Debug, Default)]
pub struct Seldom(Cell<Option<Tick>>);

impl Seldom {
    /// Whether a line is due. If so, the next one is due in 10 s.
    pub fn is_due(&self, now: Tick) -> bool {
        let due = self.0.get().is_none_or(|last| now.since(last) >= PAUSE);
        if due {
            self.0.set(Some(now));
        }
        due
    }
}
