//! Idle HTTP/1.1 connections to one port of one endpoint.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use tokio::time::Instant;

use crate::{http::headers::KeepAlive, upstream::Http1};

use super::patience::{self, Learned};

/// More are closed: a burst's connections should not outlive it.
const CONNECTIONS_MAX: usize = 256;

/// The connections that are free.
#[derive(Debug, Default)]
pub struct IdleHttp1 {
    free: RefCell<Vec<Idle>>,
    learned: Cell<Option<Learned>>,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
    keep: KeepAlive,
}

impl Idle {
    fn is_of_use(&self, learned: Option<Learned>, now: Instant) -> bool {
        let idled = now.saturating_duration_since(self.since);
        !self.connection.is_closed() && idled <= patience::bound(self.keep, learned, now)
    }
}

impl IdleHttp1 {
    /// Takes a connection back.
    pub fn put(&self, connection: Http1, keep: KeepAlive) {
        let mut free = self.free.borrow_mut();
        if free.len() < CONNECTIONS_MAX && !connection.is_closed() {
            free.push(Idle {
                connection,
                since: Instant::now(),
                keep,
            });
        }
    }

    /// One was closed under a request, after it had idled for so long: the others are given less time, for a while.
    pub fn raced(&self, idled: Duration) {
        let learned = Learned::from_race(idled, self.learned.get(), Instant::now());
        self.learned.set(Some(learned));
    }

    /// The one that was used last.
    pub(super) fn take(&self) -> Option<Http1> {
        let mut free = self.free.borrow_mut();
        let (now, learned) = (Instant::now(), self.learned.get());
        let mut busy = Vec::new();
        let found = loop {
            let Some(idle) = free.pop() else { break None };
            if !idle.is_of_use(learned, now) {
                continue;
            }
            if idle.connection.is_ready() {
                let idled = now.saturating_duration_since(idle.since);
                break Some(idle.connection.reused_after(idled));
            }
            // Its last request's body is still being written.
            busy.push(idle);
        };
        free.append(&mut busy);
        found
    }

    /// Closes the old ones; false when none is left and nothing was learned.
    pub(super) fn sweep(&self) -> bool {
        let (now, learned) = (Instant::now(), self.learned.get());
        let mut free = self.free.borrow_mut();
        free.retain(|idle| idle.is_of_use(learned, now));
        !free.is_empty() || learned.is_some()
    }
}
