//! Who has to act when a request was not simply carried.

use super::ProxyError;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller.
    Downstream,
    /// The called.
    Upstream,
    /// This proxy or its configuration.
    Local,
}

impl ProxyError {
    /// Who has to act.
    pub fn side(&self) -> Side {
        match self {
            Self::InvalidRequest { .. }
            | Self::Refused { .. }
            | Self::UpgradeRefused
            | Self::PlaintextRefused
            | Self::AccessDenied { .. }
            | Self::RateLimited { .. }
            | Self::Unauthenticated { .. }
            | Self::DeadlineExpired
            | Self::NoSuchHost { .. }
            | Self::NoSuchDestination { .. }
            | Self::Misdirected { .. }
            | Self::NotInMesh { .. }
            | Self::PortIsTcp { .. }
            | Self::DownstreamGone
            | Self::DownstreamBody => Side::Downstream,
            Self::NoEndpoint { .. }
            | Self::ConnectFailed { .. }
            | Self::ConnectTimeout { .. }
            | Self::TlsFailed { .. }
            | Self::UpstreamReset { .. }
            | Self::RefusedUnseen { .. }
            | Self::NotTaken { .. }
            | Self::IdleRace { .. }
            | Self::UpstreamBrokeOff { .. }
            | Self::UpstreamProtocol { .. }
            | Self::RequestTimeout { .. }
            | Self::AttemptTimeout { .. }
            | Self::StreamIdle { .. }
            | Self::StreamTooLong { .. } => Side::Upstream,
            Self::UnknownService { .. }
            | Self::DiscoveryTimeout { .. }
            | Self::NoSuchPort { .. }
            | Self::InvalidBackend { .. }
            | Self::Unverifiable { .. }
            | Self::BreakerOpen { .. }
            | Self::FaultInjected { .. }
            | Self::Overflow { .. }
            | Self::Internal { .. } => Side::Local,
        }
    }
}
