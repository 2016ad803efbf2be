//! Fallback: who answers when the primary cannot.
//!
//! A fallback is somebody else doing the work. If the primary may have done it too, that is doing it twice:
//! so after spent attempts it is used only if that is provably harmless, or policy vouches for it (a fraud
//! check yes, a debit never). Ejection alone is no reason: ejected endpoints are an opinion, not an absence.

use usher_config::model::{Fallback, FallbackTarget};

/// Why the primary cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its breaker is open.
    Open,
    /// None registered, or all fail their own health check.
    NoEndpoint,
    /// Every allowed attempt failed.
    Exhausted {
        /// The request may be done twice, by whomever. That the primary's policy vouches for repeats does not count:
        /// it is about the primary, whose store of keys the stand-in does not know.
        idempotent: bool,
        /// Every attempt was provably unprocessed.
        all_unprocessed: bool,
    },
}

impl Cause {
    /// The metric's `cause`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::NoEndpoint => "no_endpoint",
            Self::Exhausted { .. } => "exhausted",
        }
    }
}

/// Who answers instead, if policy has somebody for this cause.
pub fn decide(policy: Option<&Fallback>, cause: Cause) -> Option<&FallbackTarget> {
    let policy = policy?;
    let applies = match cause {
        Cause::Open => policy.on_open,
        Cause::NoEndpoint => policy.on_no_endpoint,
        Cause::Exhausted {
            idempotent,
            all_unprocessed,
        } => policy.on_exhausted && (idempotent || all_unprocessed || policy.repeatable),
    };
    applies.then_some(&policy.target)
}

#[cfg(test)]
mod tests;
