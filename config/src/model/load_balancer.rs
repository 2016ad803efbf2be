//! How an endpoint is chosen, resolved. Reasons and defaults are at `kind::load_balancer`.

use std::time::Duration;

use http::HeaderName;

use crate::value::Percent;

/// How an endpoint of a service is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadBalancer {
    /// Among those of a zone.
    pub algorithm: Algorithm,
    /// For [`Algorithm::RingHash`]: the first that a request has counts.
    pub hash: Vec<HashKey>,
    /// How a new endpoint begins; `None`: like any other.
    pub slow_start: Option<SlowStart>,
    /// Which zones come first; `None`: zones make no difference.
    pub zones: Option<Zones>,
}

/// How an endpoint is chosen among the ready ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// Two at random, the one with less `ewma_rtt · (in_flight + 1)`.
    #[default]
    PeakEwma,
    /// Two at random, the one with fewer requests in flight.
    LeastRequest,
    /// One after the other, by weight.
    RoundRobin,
    /// The one that the request's key leads to.
    RingHash,
}

/// What requests are kept together by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's value, as written.
    Query(String),
    /// Who calls.
    Source,
}

/// How a new endpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowStart {
    /// Until it has its whole share.
    pub window: Duration,
    /// The share it begins with.
    pub min_percent: Percent,
}

/// Which zones come first: the caller's own, then these, then all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    /// In this order.
    pub failover: Vec<String>,
    /// With fewer of its endpoints well, a zone comes after those that have more.
    pub min_ready: Percent,
}
