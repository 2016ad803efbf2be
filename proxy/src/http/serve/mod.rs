//! Serving HTTP on a connection that is already accepted, detected and, where it must be, verified.
//!
//! One handler serves both versions: request in, response out, bodies streaming. A handler's future is
//! dropped when its caller goes away, and with it everything that it was doing upstream.

mod guarded;
mod http1;
mod http2;
mod watch;

pub use http1::http1;
pub use http2::http2;

use std::{future::Future, pin::Pin, time::Duration};

use http::{Request, Response};

use crate::{
    http::{Body, Interim},
    worker::{Drain, Phase, Worker},
};

/// What answers a connection's requests. Of one type, so that each server is compiled once for all directions.
pub type Handler<'a> = &'a dyn Fn(Request<Body>, Interim) -> Handling;

/// An answer under way: one box that is never moved again.
pub type Handling = Pin<Box<dyn Future<Output = Response<Body>>>>;

/// How long a caller's connection may do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// Until its first request.
    pub first: Duration,
    /// After an answer.
    pub between: Duration,
}

impl Idle {
    /// In the mesh: an hour, the longest keep-alive that clients commonly use. Who connects here is known.
    pub const MESH: Self = Self {
        first: Duration::from_secs(3_600),
        between: Duration::from_secs(3_600),
    };

    /// From outside: who connects has a request at hand, and may come back for another as browsers and balancers do
    /// (nginx's 75 s). Longer would let strangers hold places at no cost.
    pub const OUTSIDE: Self = Self {
        first: Duration::from_secs(10),
        between: Duration::from_secs(75),
    };
}

/// How a connection ended that did not break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Both sides were done with it.
    Whole,
    /// This proxy ended it.
    Bounded(Bound),
}

impl Served {
    /// Into `usher_connections_ended_total`, if it was our doing.
    pub fn count(self, worker: &Worker) {
        if let Self::Bounded(bound) = self {
            worker.handles.ended.add(worker.index, bound.as_str());
        }
    }
}

/// A bound that a caller's connection ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A request's head took longer than 10 to 20 s.
    SlowHead,
    /// A request's body stood still for a minute.
    SlowBody,
    /// An answer was not read for five minutes.
    Unread,
    /// No request, see [`Idle`].
    Idle,
    /// HTTP/2: neither preface nor settings within 10 s.
    SlowHandshake,
    /// HTTP/2: more resets, empty frames or header frames than a caller has a use for.
    Flood,
}

impl Bound {
    /// The metric's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::SlowBody => "slow_body",
            Self::Unread => "unread",
            Self::Idle => "idle",
            Self::SlowHandshake => "slow_handshake",
            Self::Flood => "flood",
        }
    }
}

/// When a connection's caller is told to go elsewhere.
#[derive(Debug, Clone)]
pub struct UntilDrain {
    /// What is watched.
    pub drain: Drain,
    /// From when on.
    pub phase: Phase,
}

impl UntilDrain {
    async fn reached(&mut self) {
        self.drain.reached(self.phase).await;
    }
}
