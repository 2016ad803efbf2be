//! What stands between the mesh and a command, or the outside.

use std::fmt;

/// What `usher-proxy` is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Beside a command.
    Sidecar,
    /// For the outside; there is no command.
    Gateway,
}

impl Role {
    /// What waits for it, in words for people.
    pub(super) const fn subject(self) -> &'static str {
        match self {
            Self::Sidecar => "the command",
            Self::Gateway => "the gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "gateway",
        })
    }
}
