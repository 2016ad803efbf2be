//! Rate limits as the request path sees them: buckets that outlive snapshots, and counters.

use std::{collections::HashMap, sync::Arc};

use usher_config::model::{RateLimit, RateLimits};

use crate::{
    policy::rate_limit::{Hashing, Limiter},
    telemetry::metrics::{Metrics, Outcomes},
};

/// The limits of one policy for one of its targets.
#[derive(Debug)]
pub struct LimitsEntry {
    /// What the control plane said.
    pub model: RateLimits,
    /// In the order of the model's.
    pub limits: Vec<LimitEntry>,
}

/// One limit.
#[derive(Debug, Clone)]
pub struct LimitEntry {
    /// What the control plane said.
    pub model: RateLimit,
    /// Kept for as long as the limit stays what it is: a changed one begins with full buckets.
    pub limiter: Arc<Limiter>,
    /// Requests beyond it: `refused`, and `dry_run` where it is on trial.
    pub beyond: Outcomes,
}

/// By policy and target: kept for the next snapshot.
pub(super) type Kept = HashMap<(Arc<str>, Arc<str>), Arc<LimitsEntry>>;

/// Makes entries; `before` is the snapshot's before.
pub(super) struct Limits<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) before: Option<&'a Kept>,
    pub(super) kept: Kept,
}

impl<'a> Limits<'a> {
    pub(super) fn new(metrics: &'a Metrics, before: Option<&'a Kept>) -> Self {
        Self {
            metrics,
            before,
            kept: Kept::new(),
        }
    }

    /// One entry for a policy and target, however many routes share it.
    pub(super) fn entry(&mut self, model: &RateLimits) -> Arc<LimitsEntry> {
        let key = (model.policy.clone(), model.target.clone());
        if let Some(made) = self.kept.get(&key) {
            return made.clone();
        }
        let before = self.before.and_then(|before| before.get(&key));
        let limits = model.limits.iter();
        let limits = limits.map(|limit| self.limit(&model.policy, limit, before));
        let entry = Arc::new(LimitsEntry {
            limits: limits.collect(),
            model: model.clone(),
        });
        self.kept.insert(key, entry.clone());
        entry
    }

    fn limit(
        &self,
        policy: &str,
        model: &RateLimit,
        before: Option<&Arc<LimitsEntry>>,
    ) -> LimitEntry {
        let same = |one: &&LimitEntry| counts_alike(&one.model, model);
        let before = before.and_then(|before| before.limits.iter().find(same));
        LimitEntry {
            limiter: before.map_or_else(
                || Arc::new(Limiter::new(model, Hashing::default())),
                |before| before.limiter.clone(),
            ),
            beyond: self.metrics.rate_limited(policy, &model.name),
            model: model.clone(),
        }
    }
}

/// Whether the buckets of one mean the same to the other. Which requests it is about may change meanwhile.
fn counts_alike(one: &RateLimit, other: &RateLimit) -> bool {
    let what = |limit: &RateLimit| (limit.requests, limit.per, limit.burst, limit.keys_max);
    one.name == other.name && what(one) == what(other) && one.key == other.key
}
