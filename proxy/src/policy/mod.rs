//! Stage 5: may this request go, for how long, how often. Pure rules; shared state is one atomic word each.
//!
//! Four protections with four names (SEMANTICS §8): `limits` bound what is in flight, `balance::ejection`
//! takes out one endpoint, `breaker` gives a whole dependency a rest, `fallback` answers instead.

/// Shared with `usher authz check`.
pub use usher_config::decide::access;

pub mod breaker;
pub mod fallback;
pub mod fault;
pub mod limits;
pub mod rate_limit;
pub mod retry;
pub mod retry_budget;
pub mod timeout;
pub mod token;
