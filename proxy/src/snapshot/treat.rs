//! Policy → treatment: finds or makes the breaker and the budget, which outlive snapshots.

use std::sync::Arc;

use usher_config::model::{BreakerScope, TrafficPolicy};

use crate::{
    clock,
    policy::{breaker::Breaker, retry_budget::RetryBudget},
    telemetry::metrics::Direction,
};

use super::{Treatment, apply::Fixed, entry::BreakerEntry};

/// What a treatment is made from, beside its policy.
pub(super) struct Treat<'a> {
    pub(super) fixed: &'a Fixed,
    /// Of the service that is called.
    pub(super) label: &'a Arc<str>,
    /// The same of the snapshot before.
    pub(super) before: Option<&'a Arc<Treatment>>,
    /// The service's own, if this is a route's.
    pub(super) general: Option<&'a Arc<Treatment>>,
}

impl Treat<'_> {
    pub(super) fn treatment(&self, route: Arc<str>, policy: &Arc<TrafficPolicy>) -> Treatment {
        let (metrics, label) = (&self.fixed.metrics, self.label);
        Treatment {
            breaker: self.breaker(&route, policy),
            budget: self.budget(policy),
            requests: metrics.requests(Direction::Outbound, label, &route, label),
            faults: metrics.faults(label),
            policy: policy.clone(),
            route,
            mirrors: Vec::new(),
        }
    }

    /// A breaker of scope `Service` is one for the service and all routes whose settings are the same.
    fn breaker(&self, route: &Arc<str>, policy: &TrafficPolicy) -> Option<BreakerEntry> {
        let settings = policy.breaker.as_ref()?;
        let shared = self.general.and_then(|general| general.breaker.as_ref());
        if settings.scope == BreakerScope::Service
            && let Some(shared) = shared
            && shared.breaker.settings() == settings
        {
            return Some(shared.clone());
        }
        let scope: Arc<str> = if settings.scope == BreakerScope::Service && self.general.is_none() {
            "".into()
        } else {
            route.clone()
        };
        let (workers, metrics) = (self.fixed.workers, &self.fixed.metrics);
        let state = metrics.breaker_state(self.label, &scope);
        let begin = |breaker: Breaker| {
            // An operator's hold is no transition: nobody else would tell.
            state.set(breaker.view(clock::now()).phase.number());
            Arc::new(breaker)
        };
        let breaker = match self.before.and_then(|before| before.breaker.as_ref()) {
            Some(before) if before.breaker.settings() == settings => before.breaker.clone(),
            Some(before) => begin(before.breaker.renewed(settings.clone(), workers)),
            None => begin(Breaker::new(settings.clone(), workers)),
        };
        Some(BreakerEntry {
            breaker,
            state,
            transitions: metrics.breaker_transitions(self.label, &scope),
            observed: metrics.breaker_observed(self.label, &scope),
            route: scope,
        })
    }

    fn budget(&self, policy: &TrafficPolicy) -> Arc<RetryBudget> {
        let settings = &policy.retry.budget;
        let same = |treatment: &&Arc<Treatment>| treatment.policy.retry.budget == *settings;
        let kept = self.general.filter(same).or(self.before.filter(same));
        kept.map_or_else(
            || Arc::new(RetryBudget::new(settings, self.fixed.workers)),
            |treatment| treatment.budget.clone(),
        )
    }
}
