//! Errors and delays made on purpose, resolved.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, StatusCode};

use crate::value::Percent;

use super::TextMatch;

/// What is done to some of a route's requests until it expires.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// `namespace/name` of the policy.
    pub name: Arc<str>,
    /// From then on it is as if it were not there.
    pub expires_at: SystemTime,
    /// Requests that have all of these; empty: all.
    pub headers: Vec<(HeaderName, TextMatch)>,
    /// How many wait for how long.
    pub delay: Option<(Percent, Duration)>,
    /// How many are answered with what.
    pub abort: Option<(Percent, FaultAnswer)>,
}

/// What an aborted request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAnswer {
    /// An HTTP status, 400–599.
    Status(StatusCode),
    /// A gRPC code, 1–16.
    GrpcStatus(u8),
}
