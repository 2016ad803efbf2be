//! Which limit of a service was reached.

use std::fmt;

use usher_config::model::Limits;

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

    /// Its value among a service's limits.
    pub(crate) fn of(self, limits: &Limits) -> u32 {
        let each = &limits.per_endpoint;
        match self {
            Self::Connections => limits.max_connections,
            Self::PendingRequests => limits.max_pending_requests,
            Self::ConcurrentRequests => limits.max_concurrent_requests,
            Self::ConnectionsPerEndpoint => each.max_connections.unwrap_or(u32::MAX),
            Self::PendingRequestsPerEndpoint => each.max_pending_requests.unwrap_or(u32::MAX),
            Self::ConcurrentRequestsPerEndpoint => each.max_concurrent_requests.unwrap_or(u32::MAX),
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
