//! Who calls an instance without the mesh's TLS, as its sidecar has seen it.

use std::{net::IpAddr, time::Duration};

use crate::value::Port;

/// A caller. Times are ages, in whole seconds: clocks of two machines need not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaintextCaller {
    /// Where its connections come from.
    pub address: IpAddr,
    /// The service's port that it called; `None`: none of them.
    pub port: Option<Port>,
    /// How long ago its first connection began.
    pub first_seen: Duration,
    /// How long ago its last one ended; zero: it is connected.
    pub last_seen: Duration,
    /// How long ago one was refused last for want of mutual TLS; `None`: none was.
    pub refused: Option<Duration>,
    /// How long ago one was let in last; zero: one is; `None`: none was.
    pub let_in: Option<Duration>,
}

/// Those of whom a sidecar tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlaintextCallers(pub Vec<PlaintextCaller>);

impl PlaintextCallers {
    /// How many are told of at once, those seen last: more than anybody reads, and one is enough to hold `Strict`.
    pub const MAX: usize = 50;
}
