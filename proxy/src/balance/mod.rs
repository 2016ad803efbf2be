//! Stage 6: service → endpoint. A pure choice over state that all workers share.
//!
//! A [`Group`] is made when a snapshot is applied: the endpoints that one service port may use, with
//! everything precomputed that a choice needs. What is learned about an endpoint lives in
//! [`EndpointState`] and outlives snapshots. A choice costs tens of nanoseconds and never allocates.

pub mod affinity;
mod attempt;
mod choose;
pub mod ejection;
mod endpoint_state;
mod group;
mod peak_ewma;
mod ring;
mod slow_start;
pub mod zones;

pub use attempt::{Attempt, AttemptOutcome, Observation};
pub use choose::{NoPick, Pick, choose, exactly};
pub use ejection::{Change, Roster};
pub use endpoint_state::{EndpointState, EndpointView};
pub use group::{Group, Member, Rules};

#[cfg(test)]
mod tests;
