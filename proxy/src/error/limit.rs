//! Which limit of a service was reached.

use std::fmt;

/// A limit of `model::Limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `maxConnections`.
    Connections,
    /// `maxPendingRequests`.
    PendingRequests,
    /// `maxConcurrentRequests`.
    ConcurrentRequests,
    /// `perEndpoint.maxConcurrentRequests`.
    ConcurrentRequestsPerEndpoint,
}

impl Limit {
    /// The field's name in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "maxConnections",
            Self::PendingRequests => "maxPendingRequests",
            Self::ConcurrentRequests => "maxConcurrentRequests",
            Self::ConcurrentRequestsPerEndpoint => "perEndpoint.maxConcurrentRequests",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
