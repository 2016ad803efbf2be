//! What a proxy can be told about, in the order in which it is told.

use usher_config::wire::type_url;

/// A type of resource. The order is that of a batch: whom to trust before whom to let in, whom to let in before
/// whom to call, services before their endpoints. `Revision` closes every batch and is no topic of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Roots.
    TrustBundle,
    /// What a workload's own sidecar enforces.
    InboundPolicy,
    /// Where a gateway's own process listens, and what for.
    Gateway,
    /// Services to call.
    Service,
    /// Their instances.
    Endpoint,
}

impl Topic {
    /// In sending order.
    pub const ALL: [Self; 5] = [
        Self::TrustBundle,
        Self::InboundPolicy,
        Self::Gateway,
        Self::Service,
        Self::Endpoint,
    ];

    /// The name on the wire.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::TrustBundle => type_url::TRUST_BUNDLE,
            Self::InboundPolicy => type_url::INBOUND_POLICY,
            Self::Gateway => type_url::GATEWAY,
            Self::Service => type_url::SERVICE,
            Self::Endpoint => type_url::ENDPOINT,
        }
    }

    /// The topic of a name on the wire.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.type_url() == url)
    }
}
