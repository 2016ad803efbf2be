//! A payment, and the only ways it may go on.

use bank_chassis::event::{Outcome, PaymentEvent};
use bank_chassis::fields::Fields;
use bank_chassis::problem::{Mistake, Problem};
use bank_chassis::{clock, rules};
use serde_json::{Value, json};

/// How far a payment has come; stored before the step it names begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Fraud is being asked; nothing is charged.
    Assessing,
    /// Approved; may or may not be debited.
    Debiting,
    /// Debited; may or may not be credited.
    Crediting,
    /// Debited, can't be credited; may or may not be given back.
    Refunding,
    Completed,
    /// Refused before any money moved.
    Declined,
    /// Could not be judged; nothing was charged. The same key may try again.
    Failed,
    Refunded,
}

impl State {
    pub(crate) const ALL: [Self; 8] = [
        Self::Assessing,
        Self::Debiting,
        Self::Crediting,
        Self::Refunding,
        Self::Completed,
        Self::Declined,
        Self::Failed,
        Self::Refunded,
    ];

    /// As stored.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Assessing => "assessing",
            Self::Debiting => "debiting",
            Self::Crediting => "crediting",
            Self::Refunding => "refunding",
            Self::Completed => "completed",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Refunded => "refunded",
        }
    }

    /// As told to callers, who need not know the steps.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Assessing | Self::Debiting | Self::Crediting | Self::Refunding => "pending",
            ended => ended.word(),
        }
    }

    pub(crate) fn parse(word: &str) -> sqlx::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown state {word:?}").into()))
    }

    /// What others are told when a payment gets here.
    fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Completed => Some(Outcome::Completed),
            Self::Declined => Some(Outcome::Declined),
            Self::Refunded => Some(Outcome::Refunded),
            _ => None,
        }
    }
}

/// A payment as stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) from_customer: Option<String>,
    pub(crate) to_customer: Option<String>,
    pub(crate) amount_cents: i64,
    pub(crate) currency: String,
    pub(crate) reference: String,
    pub(crate) state: State,
    pub(crate) engine: String,
    pub(crate) decision: String,
    pub(crate) score: f64,
    pub(crate) reason: String,
    pub(crate) created_at: i64,
    /// How often its present step was tried in vain.
    pub(crate) attempts: u32,
}

impl Payment {
    /// Reads a request.
    ///
    /// # Errors
    /// A 400 with every mistake.
    pub(crate) fn from_request(
        key: Result<Option<String>, Mistake>,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let mut fields = Fields::from_body(body)?;
        let id = fields.optional_id("paymentId");
        let (from, to) = (fields.id("from"), fields.id("to"));
        let (amount_cents, currency) = (fields.cents("amountCents"), fields.currency("currency"));
        let reference = fields.text_or_empty("reference");
        if from.is_some() && from == to {
            let found = to.as_deref().unwrap_or_default();
            fields.note(Mistake::new("to", found, "another account than in from"));
        }
        let key = match key {
            Ok(Some(key)) => Some(key),
            Ok(None) if id == Some(None) => {
                fields.note(Mistake::new("Idempotency-Key", "nothing", rules::ID));
                None
            }
            Ok(None) => id.clone().flatten(),
            Err(mistake) => {
                fields.note(mistake);
                None
            }
        };
        let payment = || {
            Some(Self {
                id: id?.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
                key: key?,
                from: from?,
                to: to?,
                from_customer: None,
                to_customer: None,
                amount_cents: amount_cents?,
                currency: currency?,
                reference: reference?,
                state: State::Assessing,
                engine: String::new(),
                decision: String::new(),
                score: 0.0,
                reason: String::new(),
                created_at: clock::now_millis(),
                attempts: 0,
            })
        };
        let Some(payment) = payment() else {
            return Err(fields.into_problem());
        };
        fields.finish()?;
        Ok(payment)
    }

    /// Whether `other` asks for the same: who, whom, how much and why.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        (&self.from, &self.to, self.amount_cents) == (&other.from, &other.to, other.amount_cents)
            && (&self.currency, &self.reference) == (&other.currency, &other.reference)
    }

    /// The same payment, one step on.
    pub(crate) fn at(&self, state: State) -> Self {
        Self {
            state,
            attempts: 0,
            ..self.clone()
        }
    }

    /// Ended or turned back, and why.
    pub(crate) fn because(&self, state: State, reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            ..self.at(state)
        }
    }

    /// Id of one of its account operations.
    pub(crate) fn operation(&self, step: &str) -> String {
        format!("{}/{step}", self.id)
    }

    /// The event of its end; `None` while it has not ended.
    pub(crate) fn event(&self, now: i64) -> Option<PaymentEvent> {
        Some(PaymentEvent {
            id: uuid::Uuid::now_v7().to_string(),
            outcome: self.state.outcome()?,
            occurred_at: clock::rfc3339(now),
            payment_id: self.id.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            from_customer: self.from_customer.clone(),
            to_customer: self.to_customer.clone(),
            amount_cents: self.amount_cents,
            currency: self.currency.clone(),
            reference: self.reference.clone(),
            reason: self.reason.clone(),
            engine: self.engine.clone(),
            decision: self.decision.clone(),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "status": self.state.status(),
            "from": self.from,
            "to": self.to,
            "amountCents": self.amount_cents,
            "currency": self.currency,
            "reference": self.reference,
            "engine": self.engine,
            "decision": self.decision,
            "score": self.score,
            "reason": self.reason,
            "createdAt": clock::rfc3339(self.created_at),
        })
    }
}
