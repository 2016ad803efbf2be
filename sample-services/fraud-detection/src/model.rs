//! The scoring model: a logistic regression over three features with hand-set weights. Pure.

use bank_chassis::proto::fraud::{AssessResponse, Decision};

/// Name this engine signs its answers with.
pub(crate) const ENGINE: &str = "fraud-detection";

/// From this score on a human should look at it: twice as likely wrong as a typical first payment to a stranger.
const REVIEW_FROM: f64 = 0.6;

/// From this score on the payment is refused.
const DECLINE_FROM: f64 = 0.9;

/// Score of an ordinary payment, as log-odds: 1.8 %.
const BIAS: f64 = -4.0;

/// Payments needed before a deviation means anything.
const HABIT_MIN: u32 = 5;

/// What is known about a payment's account.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Features {
    pub(crate) amount_cents: f64,
    /// Earlier payments of the account.
    pub(crate) payments: u32,
    pub(crate) mean_cents: f64,
    pub(crate) deviation_cents: f64,
    pub(crate) payee_is_new: bool,
    /// Payments of the account in the last minute.
    pub(crate) last_minute: u32,
}

impl Features {
    /// How many deviations the amount lies above the account's mean, at most 8.
    ///
    /// A deviation counts as at least a quarter of the mean: an account that always pays the same
    /// must not be alarmed by a cent more. The ceiling is what lets an absurd amount alone decline.
    fn unusualness(&self) -> f64 {
        if self.payments < HABIT_MIN {
            return 0.0;
        }
        let deviation = self.deviation_cents.max(self.mean_cents / 4.0).max(1.0);
        ((self.amount_cents - self.mean_cents) / deviation).clamp(0.0, 8.0)
    }

    /// The answer, with the features that weighed most first.
    pub(crate) fn score(&self) -> AssessResponse {
        let mut weights = [
            (0.8 * self.unusualness(), "unusual-amount"),
            (if self.payee_is_new { 0.7 } else { 0.0 }, "new-payee"),
            // 50 payments a minute count as much as it gets: a shop is fast, not fraudulent.
            (f64::from(self.last_minute.min(50)) * 0.02, "velocity"),
        ];
        weights.sort_by(|left, right| right.0.total_cmp(&left.0));
        let odds: f64 = BIAS + weights.iter().map(|(weight, _)| weight).sum::<f64>();
        let score = 1.0 / (1.0 + (-odds).exp());
        let decision = if score >= DECLINE_FROM {
            Decision::Decline
        } else if score >= REVIEW_FROM {
            Decision::Review
        } else {
            Decision::Approve
        };
        let reasons = weights.iter().filter(|(weight, _)| *weight >= 0.5);
        AssessResponse {
            decision: decision.into(),
            score,
            reasons: reasons.map(|(_, reason)| (*reason).to_owned()).collect(),
            engine: ENGINE.to_owned(),
        }
    }
}
