//! Idle HTTP/1.1 connections to one port of one endpoint.

use std::{cell::RefCell, time::Duration};

use tokio::time::Instant;

use crate::{http::headers::KeepAlive, upstream::Http1};

/// An idle connection is not reused after this time: servers commonly close after 5 s, and a request that
/// meets the close is lost (flag `CR`).
const IDLE_MAX: Duration = Duration::from_secs(3);

/// What `Keep-Alive: timeout` promises is shortened by a round trip and a scheduling delay.
const SAFETY: Duration = Duration::from_millis(500);

/// More are closed: a burst's connections should not outlive it.
const CONNECTIONS_MAX: usize = 256;

/// The connections that are free.
#[derive(Debug, Default)]
pub struct IdleHttp1(RefCell<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    connection: Http1,
    until: Instant,
}

impl IdleHttp1 {
    /// Takes a connection back.
    pub fn put(&self, connection: Http1, keep: KeepAlive) {
        let idle = match keep {
            KeepAlive::Unsaid => IDLE_MAX,
            KeepAlive::For(time) => time.saturating_sub(SAFETY).min(IDLE_MAX * 20),
        };
        let mut free = self.0.borrow_mut();
        if free.len() < CONNECTIONS_MAX && !connection.is_closed() {
            free.push(Idle {
                connection,
                until: Instant::now() + idle,
            });
        }
    }

    /// The one that was used last.
    pub(super) fn take(&self) -> Option<Http1> {
        let mut free = self.0.borrow_mut();
        let now = Instant::now();
        let mut busy = Vec::new();
        let found = loop {
            let Some(idle) = free.pop() else { break None };
            if idle.connection.is_closed() || idle.until < now {
                continue;
            }
            if idle.connection.is_ready() {
                break Some(idle.connection);
            }
            // Its last request's body is still being written.
            busy.push(idle);
        };
        free.append(&mut busy);
        found
    }

    /// Closes the old ones; false when none is left.
    pub(super) fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut free = self.0.borrow_mut();
        free.retain(|idle| !idle.connection.is_closed() && idle.until >= now);
        !free.is_empty()
    }
}
