//! The limits themselves. Pure: the answer follows from the payment alone.

use bank_chassis::proto::fraud::{AssessRequest, AssessResponse, Decision};

/// Name this engine signs its answers with.
const ENGINE: &str = "fraud-rules";

/// From which amounts on a payment is looked at, or refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) review_above_cents: i64,
    pub(crate) decline_above_cents: i64,
}

impl Limits {
    pub(crate) fn assess(&self, payment: &AssessRequest) -> AssessResponse {
        let (decision, score, reason) = if payment.amount_cents > self.decline_above_cents {
            (Decision::Decline, 1.0, Some("above-limit"))
        } else if payment.amount_cents > self.review_above_cents {
            (Decision::Review, 0.5, Some("above-review-limit"))
        } else {
            (Decision::Approve, 0.0, None)
        };
        AssessResponse {
            decision: decision.into(),
            score,
            reasons: reason.into_iter().map(str::to_owned).collect(),
            engine: ENGINE.to_owned(),
        }
    }
}
