//! Limits on requests, resolved.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};

use super::{PathRule, TextMatch};

/// The limits of one policy for one of its targets.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimits {
    /// `namespace/name` of the policy.
    pub policy: Arc<str>,
    /// What it holds for, as people are told: whoever enforces it for two targets counts twice.
    pub target: Arc<str>,
    /// Counts, refuses nothing.
    pub dry_run: bool,
    /// A request has to be within all of them that are about it.
    pub limits: Vec<RateLimit>,
}

/// So many in a time, of each key.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// Unique in its policy.
    pub name: Arc<str>,
    /// How many; at least 1.
    pub requests: u32,
    /// In how long.
    pub per: Duration,
    /// How many at once; at least 1, and no more than come back within 30 days.
    pub burst: u32,
    /// What is counted apart; empty: nothing.
    pub key: Vec<LimitKey>,
    /// How many keys are remembered at once.
    pub keys_max: u32,
    /// Which requests it is about.
    pub when: LimitWhen,
}

/// In each list any entry suffices (of `headers` all), an empty list asks nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitWhen {
    /// As sent.
    pub methods: Vec<Method>,
    /// Normalised.
    pub paths: Vec<PathRule>,
    /// All of these.
    pub headers: Vec<(HeaderName, TextMatch)>,
}

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// The caller's verified identity.
    Identity,
    /// A header's value.
    Header(HeaderName),
    /// The value of a verified token's claim.
    Claim(Arc<str>),
    /// Normalised, without the query.
    Path,
    /// The rule that took the request.
    Route,
    /// The caller's address.
    Source,
}
