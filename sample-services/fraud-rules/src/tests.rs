//! Facts about the limits.

use bank_chassis::proto::fraud::Decision;

use super::*;

#[test]
fn a_limit_itself_is_still_allowed() {
    let limits = Limits {
        review_above_cents: 100,
        decline_above_cents: 1000,
    };
    for (amount_cents, decision) in [
        (1, Decision::Approve),
        (100, Decision::Approve),
        (101, Decision::Review),
        (1000, Decision::Review),
        (1001, Decision::Decline),
    ] {
        let payment = AssessRequest {
            amount_cents,
            ..AssessRequest::default()
        };
        let answer = limits.assess(&payment);
        assert_eq!(answer.decision(), decision, "{amount_cents}");
        assert_eq!(answer.reasons.is_empty(), decision == Decision::Approve);
        assert_eq!(answer.engine, "fraud-rules");
    }
}
