//! Tokens as the request path sees them: keys ready to verify with, and a counter.

use std::sync::Arc;

use usher_config::model::Authentication;

use crate::{
    policy::token::Authenticator,
    telemetry::metrics::{Metrics, Outcomes},
};

use super::limits::LimitsEntry;

/// One policy.
#[derive(Debug)]
pub struct TokensEntry {
    model: Authentication,
    /// Decides.
    pub authenticator: Authenticator,
    /// By outcome.
    pub outcomes: Outcomes,
}

/// Who is let in at a gateway's route, and how often.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    /// `None`: nobody looks at tokens.
    pub tokens: Option<Arc<TokensEntry>>,
    /// The gateway's, and the rule's own.
    pub limits: Arc<[Arc<LimitsEntry>]>,
}

impl TokensEntry {
    /// The one before if it says the same: it knows tokens.
    pub(super) fn after(
        before: Option<&Arc<Self>>,
        model: &Authentication,
        metrics: &Metrics,
    ) -> Arc<Self> {
        match before {
            Some(before) if before.model == *model => before.clone(),
            Some(_) | None => Arc::new(Self {
                authenticator: Authenticator::new(model),
                outcomes: metrics.tokens(&model.name),
                model: model.clone(),
            }),
        }
    }
}
