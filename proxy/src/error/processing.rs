//! What a failure says about the request's effect.

use std::fmt;

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
