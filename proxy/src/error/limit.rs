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
    /// `perEndpoint.maxConnections`.
    ConnectionsPerEndpoint,
    /// `perEndpoint.maxPendingRequests`.
    PendingRequestsPerEndpoint,
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
            Self::ConnectionsPerEndpoint => "perEndpoint.maxConnections",
            Self::PendingRequestsPerEndpoint => "perEndpoint.maxPendingRequests",
            Self::ConcurrentRequestsPerEndpoint => "perEndpoint.maxConcurrentRequests",
        }
    }

    /// For `x-usher-reason`.
    pub(super) const fn slug(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::PendingRequests => "max-pending-requests",
            Self::ConcurrentRequests => "max-concurrent-requests",
            Self::ConnectionsPerEndpoint => "max-connections-per-endpoint",
            Self::PendingRequestsPerEndpoint => "max-pending-requests-per-endpoint",
            Self::ConcurrentRequestsPerEndpoint => "max-concurrent-requests-per-endpoint",
        }
    }

    pub(super) const fn is_per_endpoint(self) -> bool {
        match self {
            Self::Connections | Self::PendingRequests | Self::ConcurrentRequests => false,
            Self::ConnectionsPerEndpoint
            | Self::PendingRequestsPerEndpoint
            | Self::ConcurrentRequestsPerEndpoint => true,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
