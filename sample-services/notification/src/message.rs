//! What is said to whom about a payment. Pure.

use bank_chassis::event::{Outcome, PaymentEvent};

/// One message to the owner of one account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notification<'a> {
    pub(crate) account: &'a str,
    pub(crate) customer: Option<&'a str>,
    pub(crate) message: String,
}

/// The payer hears of every outcome, the payee only of money that came.
pub(crate) fn compose(event: &PaymentEvent) -> Vec<Notification<'_>> {
    let amount = amount(event);
    let to = &event.to;
    let paid = match event.outcome {
        Outcome::Completed => format!("You paid {amount} to {to}."),
        Outcome::Declined => {
            format!(
                "Your payment of {amount} to {to} was declined: {}.",
                event.reason
            )
        }
        Outcome::Refunded => {
            format!(
                "Your payment of {amount} to {to} was returned: {}.",
                event.reason
            )
        }
    };
    let payer = Notification {
        account: &event.from,
        customer: event.from_customer.as_deref(),
        message: paid,
    };
    let payee = (event.outcome == Outcome::Completed).then(|| Notification {
        account: to,
        customer: event.to_customer.as_deref(),
        message: format!("You received {amount} from {}.", event.from),
    });
    std::iter::once(payer).chain(payee).collect()
}

fn amount(event: &PaymentEvent) -> String {
    format!(
        "{}.{:02} {}",
        event.amount_cents / 100,
        event.amount_cents % 100,
        event.currency
    )
}
