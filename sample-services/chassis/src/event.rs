//! What transaction tells the others: one event per outcome of a payment.

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::fields::Fields;
use crate::problem::{Mistake, Problem};

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Debited and credited.
    #[serde(rename = "payment.completed")]
    Completed,
    /// Refused before any money moved.
    #[serde(rename = "payment.declined")]
    Declined,
    /// Debited, could not be credited, and given back.
    #[serde(rename = "payment.refunded")]
    Refunded,
}

impl Outcome {
    const ALLOWED: &'static str = "payment.completed, payment.declined or payment.refunded";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "payment.completed" => Some(Self::Completed),
            "payment.declined" => Some(Self::Declined),
            "payment.refunded" => Some(Self::Refunded),
            _ => None,
        }
    }
}

/// A fact about a payment. Delivered at least once: consumers remember `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentEvent {
    /// Also the `Idempotency-Key` of its delivery.
    pub id: String,
    /// How the payment ended.
    #[serde(rename = "type")]
    pub outcome: Outcome,
    /// RFC 3339, UTC.
    pub occurred_at: String,
    /// Which payment.
    pub payment_id: String,
    /// Account that paid.
    pub from: String,
    /// Account that was paid.
    pub to: String,
    /// Owner of `from`; absent when the payment was declined before the account was asked.
    pub from_customer: Option<String>,
    /// Owner of `to`; absent when it was not credited.
    pub to_customer: Option<String>,
    /// 1 or more.
    pub amount_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// The payer's words.
    pub reference: String,
    /// Why it was declined or refunded; empty when completed.
    pub reason: String,
    /// Who judged it.
    pub engine: String,
    /// `APPROVE`, `REVIEW` or `DECLINE`.
    pub decision: String,
}

impl PaymentEvent {
    /// Reads the body of a delivery; `key` is its `Idempotency-Key`, which must name the same event.
    ///
    /// # Errors
    /// A 400 with every mistake.
    pub fn from_delivery(
        key: Result<Option<String>, Mistake>,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let mut fields = Fields::from_body(body)?;
        let id = fields.id("id");
        match key {
            Ok(key) if key == id => {}
            Ok(key) => {
                let found = key.as_deref().unwrap_or("nothing");
                fields.note(Mistake::new(
                    "Idempotency-Key",
                    found,
                    "the id of the event",
                ));
            }
            Err(mistake) => fields.note(mistake),
        }
        let outcome = fields.matching("type", Outcome::ALLOWED, |text| {
            Outcome::parse(text).is_some()
        });
        let occurred_at = fields.matching("occurredAt", "an RFC 3339 time", |text| {
            clock::day_of(text).is_some()
        });
        let (payment_id, from, to) = (fields.id("paymentId"), fields.id("from"), fields.id("to"));
        let (from_customer, to_customer) = (
            fields.optional_id("fromCustomer"),
            fields.optional_id("toCustomer"),
        );
        let (amount_cents, currency) = (fields.cents("amountCents"), fields.currency("currency"));
        let (reference, reason) = (
            fields.text_or_empty("reference"),
            fields.text_or_empty("reason"),
        );
        let (engine, decision) = (
            fields.text_or_empty("engine"),
            fields.text_or_empty("decision"),
        );
        let event = || {
            Some(Self {
                id: id?,
                outcome: Outcome::parse(&outcome?)?,
                occurred_at: occurred_at?,
                payment_id: payment_id?,
                from: from?,
                to: to?,
                from_customer: from_customer?,
                to_customer: to_customer?,
                amount_cents: amount_cents?,
                currency: currency?,
                reference: reference?,
                reason: reason?,
                engine: engine?,
                decision: decision?,
            })
        };
        let Some(event) = event() else {
            return Err(fields.into_problem());
        };
        fields.finish()?;
        Ok(event)
    }
}
