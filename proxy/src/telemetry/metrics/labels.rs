//! Labels with few values, known to the code.

/// Which way a request goes through this proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Mesh → application.
    Inbound,
    /// Application → mesh.
    Outbound,
}

impl Direction {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller's.
    Downstream,
    /// The endpoint's.
    Upstream,
}

impl Side {
    /// The label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        }
    }
}
