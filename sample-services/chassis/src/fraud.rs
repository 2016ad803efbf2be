//! What both fraud engines ask of a payment before they judge it.

use tonic::Status;

use crate::problem::{Mistake, invalid_argument};
use crate::proto::fraud::AssessRequest;
use crate::rules;

/// # Errors
/// INVALID_ARGUMENT with every mistake.
pub fn validate(payment: &AssessRequest) -> Result<(), Status> {
    let mut mistakes = Vec::new();
    for (field, found) in [
        ("payment_id", &payment.payment_id),
        ("from_account", &payment.from_account),
        ("to_account", &payment.to_account),
    ] {
        if !rules::is_id(found) {
            mistakes.push(Mistake::new(field, found, rules::ID));
        }
    }
    if !rules::is_cents(payment.amount_cents) {
        let found = payment.amount_cents.to_string();
        mistakes.push(Mistake::new("amount_cents", &found, rules::CENTS));
    }
    if !rules::is_currency(&payment.currency) {
        mistakes.push(Mistake::new("currency", &payment.currency, rules::CURRENCY));
    }
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(invalid_argument(&mistakes))
    }
}
