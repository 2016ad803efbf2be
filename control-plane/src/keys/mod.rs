//! Keys of those who sign tokens, fetched here for all sidecars and gateways.
//!
//! Sidecars are told keys as they are told everything else: they need no way out to an issuer, a thousand of them ask it no
//! thousand times, and what they run is what the control plane shows. What was fetched last is kept on disk, so neither an
//! issuer's outage nor a restart takes a key away; what is old is told of (`StaleKeys`). Only GET, no redirects, bounded in time and size; of an answer nothing is
//! ever shown but whether it was a key set, since whoever may write a policy chooses where the control plane asks.

mod fetch;
mod kept;
mod schedule;

pub use fetch::{FetchError, Fetcher, RootsError};
pub use kept::{keep, keep_only, restore};
pub use schedule::Schedule;
