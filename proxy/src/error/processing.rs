//! What a failure says about the request's effect.

use std::fmt;

use super::ProxyError;

/// What is known of a failed request's effect: the base of all retry safety.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processing {
    /// The application has provably not seen it.
    Unprocessed,
    /// It may have.
    Unknown,
}

impl fmt::Display for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unprocessed => "request provably not processed",
            Self::Unknown => "request possibly processed",
        })
    }
}

impl ProxyError {
    /// Whether the application has provably not seen the request: anybody may be asked again.
    pub fn is_unprocessed(&self) -> bool {
        self.processing() == Processing::Unprocessed
    }

    /// What is known of the request's effect.
    pub fn processing(&self) -> Processing {
        match self {
            Self::ConnectFailed { .. }
            | Self::ConnectTimeout { .. }
            | Self::TlsFailed { .. }
            | Self::Unverifiable { .. }
            | Self::RefusedUnseen { .. } => Processing::Unprocessed,
            Self::UpstreamReset { processing, .. } => *processing,
            _ => Processing::Unknown,
        }
    }
}
