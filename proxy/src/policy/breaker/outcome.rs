//! Which ends of an exchange a breaker counts, and how.

use http::StatusCode;

/// How an exchange (all its attempts together) ended, in a breaker's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The dependency answered.
    Success,
    /// The dependency failed: connect or TLS error, timeout, reset, or an answer that says so.
    Failure,
    /// Says nothing about the dependency: cancelled by the caller, or an answer this proxy made (UO RL AZ BO FI).
    Ignored,
}

impl Outcome {
    /// 5xx is failure but 501 and 505: those say what the dependency cannot do, not that it is unwell.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            501 | 505 => Self::Success,
            500.. => Self::Failure,
            _ => Self::Success,
        }
    }

    /// DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, DATA_LOSS are failure.
    pub fn of_grpc(code: u8) -> Self {
        match code {
            4 | 8 | 13 | 14 | 15 => Self::Failure,
            _ => Self::Success,
        }
    }
}
