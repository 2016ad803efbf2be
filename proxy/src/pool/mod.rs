//! Endpoint → connection, per worker: shared HTTP/2 connections, idle HTTP/1.1 ones.
//!
//! Per worker, so that taking a connection needs no lock and its bytes never change cores. Dialling is
//! done once for all who wait, and by a task of its own: the caller who happened to be first may leave.

mod hops;
mod http1;
mod patience;

use std::{cell::RefCell, collections::HashMap, future::Future, rc::Rc};

use crate::{
    error::ProxyError,
    upstream::{Hop, Http1},
};

use hops::Hops;
pub use http1::IdleHttp1;

/// What connections are interchangeable for: an endpoint (by the number its snapshot entry carries) and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of the endpoint; a changed address or identity makes a new number.
    pub endpoint: u64,
    /// The service's port.
    pub port: u16,
    /// For streams that leave HTTP. They live long and may stand still for long: on the connection of ordinary
    /// requests they would hold parts of its flow-control window.
    pub upgrades: bool,
}

/// One worker's connections.
#[derive(Debug, Default)]
pub struct Pool {
    hops: RefCell<HashMap<Key, Rc<Hops>>>,
    http1: RefCell<HashMap<Key, Rc<IdleHttp1>>>,
}

impl Pool {
    /// A connection with room for a stream; waits for the one that `dial` makes if there is none.
    ///
    /// # Errors
    /// What dialling said.
    pub async fn hop<F>(&self, key: Key, dial: impl FnOnce() -> F) -> Result<Hop, ProxyError>
    where
        F: Future<Output = Result<Hop, ProxyError>> + 'static,
    {
        let hops = self.hops.borrow_mut().entry(key).or_default().clone();
        hops.take(dial).await
    }

    /// A connection that is there already and has room.
    pub fn open_hop(&self, key: Key) -> Option<Hop> {
        self.hops.borrow().get(&key)?.with_room()
    }

    /// A connection that is there already, however busy: for when no other may be opened.
    pub fn busy_hop(&self, key: Key) -> Option<Hop> {
        self.hops.borrow().get(&key)?.least_busy()
    }

    /// Whether there is any HTTP/1.1 connection of this key, free or not.
    pub fn has_http1(&self, key: Key) -> bool {
        let http1 = self.http1.borrow();
        // Each points to where it will come back to.
        http1.get(&key).is_some_and(|idle| Rc::weak_count(idle) > 0)
    }

    /// Where idle HTTP/1.1 connections of this key are.
    pub fn http1(&self, key: Key) -> Rc<IdleHttp1> {
        self.http1.borrow_mut().entry(key).or_default().clone()
    }

    /// A free HTTP/1.1 connection, the last used first: the others may then grow old and go.
    pub fn idle_http1(&self, key: Key) -> Option<Http1> {
        self.http1.borrow().get(&key)?.take()
    }

    /// Closes what is too old or belongs to endpoints that are gone. Streams under way go on.
    pub fn sweep(&self, is_current: impl Fn(u64) -> bool) {
        self.hops
            .borrow_mut()
            .retain(|key, hops| is_current(key.endpoint) && hops.sweep());
        self.http1.borrow_mut().retain(|key, idle| {
            // Connections under way point to where they will come back to.
            is_current(key.endpoint) && (idle.sweep() || Rc::weak_count(idle) > 0)
        });
    }

    /// Closes every connection as soon as its streams have ended: what they prove may no longer hold.
    pub fn retire(&self) {
        self.hops.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests;
