//! What an HTTP/1.1 connection has been doing, looked at once in a while.
//!
//! hyper's own header timeout also ends idle connections and costs a timer per request. A look costs a
//! comparison, and a connection needs one timer for its whole life.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::sleep;

use crate::error::Refusal;

use super::{Bound, Idle};

/// Two looks at a head that is not yet complete: at least 10 s, at most 20 s.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks at an answer that the caller does not read: five minutes, as the default `timeouts.idle`.
const UNREAD_LOOKS_MAX: u32 = 30;

/// Looks at a request's body of which nothing comes though it is waited for: a minute, as nginx. An answer
/// that has begun may wait for more of it longer: its own bounds see to that.
const BODY_LOOKS_MAX: u32 = 6;

/// What a connection has been doing. The stream tells of bytes, the service of requests.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Reads that brought bytes.
    reads: Cell<u64>,
    /// Of those, before the last request began or ended.
    reads_settled: Cell<u64>,
    requests: Cell<u64>,
    in_flight: Cell<bool>,
    answering: Cell<bool>,
    /// The last read waits for more of a body.
    body_awaited: Cell<bool>,
    /// Writes that went through.
    writes: Cell<u64>,
    /// The last one did not.
    blocked: Cell<bool>,
    /// The request with this number stands for bytes that are none.
    refused: Cell<Option<(u64, Refusal)>>,
    /// What became of the upgrade that the request with this number asked for.
    decision: Cell<Option<(u64, Decision)>>,
    /// A caller has spoken HTTP/1.0: the connection's end may say that an answer is whole.
    until_end: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

/// What became of an upgrade that a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Upgraded,
    StaysHttp,
}

impl Watch {
    pub(super) fn read(&self) {
        self.reads.set(self.reads.get() + 1);
        self.body_awaited.set(false);
    }

    pub(super) fn awaits_body(&self) {
        self.body_awaited.set(true);
    }

    pub(super) fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.set(written.is_pending());
        if written.is_ready() {
            self.writes.set(self.writes.get() + 1);
        }
    }

    /// The `number`th request is to be refused.
    pub(super) fn refuse(&self, number: u64, refusal: Refusal) {
        self.refused.set(Some((number, refusal)));
    }

    /// Why the request that has just begun is to be refused.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let (number, refusal) = self.refused.get()?;
        (number == self.requests.get()).then_some(refusal)
    }

    /// Tells the stream how to read on after the request under way.
    pub(super) fn decide(&self, decision: Decision) {
        self.answering.set(true);
        self.decision.set(Some((self.requests.get(), decision)));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The decision about the `number`th request; until there is one, `waker` is kept.
    pub(super) fn decision(&self, number: u64, waker: &Waker) -> Option<Decision> {
        match self.decision.get() {
            Some((decided, decision)) if decided >= number => Some(decision),
            _ => {
                self.reader.replace(Some(waker.clone()));
                None
            }
        }
    }

    pub(super) fn speaks_1_0(&self) {
        self.until_end.set(true);
    }

    pub(super) fn until_end(&self) -> bool {
        self.until_end.get()
    }

    fn reading_head(&self) -> bool {
        !self.in_flight.get() && self.reads.get() > self.reads_settled.get()
    }

    /// Returns when the connection has been at one thing for too long.
    pub(super) async fn watch(&self, bounds: Idle) -> Bound {
        let mut suspect: Option<u64> = None;
        let (mut idle, mut unread, mut body) = (0, 0, 0);
        loop {
            let (reads, requests) = (self.reads.get(), self.requests.get());
            let writes = self.writes.get();
            sleep(LOOK_EVERY).await;
            let silent = self.reads.get() == reads;
            count(&mut idle, silent && !self.in_flight.get());
            count(
                &mut unread,
                self.blocked.get() && self.writes.get() == writes,
            );
            let owed = self.in_flight.get() && !self.answering.get() && self.body_awaited.get();
            count(&mut body, silent && owed);
            if self.reading_head() && suspect == Some(self.requests.get()) {
                return Bound::SlowHead;
            }
            let most = match requests {
                0 => bounds.first,
                _ => bounds.between,
            };
            if LOOK_EVERY * idle >= most {
                return Bound::Idle;
            }
            if unread >= UNREAD_LOOKS_MAX {
                return Bound::Unread;
            }
            if body >= BODY_LOOKS_MAX {
                return Bound::SlowBody;
            }
            suspect = (self.reading_head() && requests == self.requests.get()).then_some(requests);
        }
    }
}

fn count(looks: &mut u32, again: bool) {
    *looks = if again { *looks + 1 } else { 0 };
}

/// A request until its response has passed, whatever still comes in meanwhile.
#[derive(Debug)]
pub(super) struct InFlight(Rc<Watch>);

impl InFlight {
    pub(super) fn begin(watch: &Rc<Watch>) -> Self {
        watch.requests.set(watch.requests.get() + 1);
        watch.in_flight.set(true);
        watch.answering.set(false);
        Self(watch.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(false);
        self.0.reads_settled.set(self.0.reads.get());
    }
}

#[cfg(test)]
mod tests;
