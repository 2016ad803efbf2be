//! Counts an event: remembers its id and adds to its day in one transaction, so that a repeated
//! delivery adds nothing.

use bank_chassis::clock;
use bank_chassis::event::{Outcome, PaymentEvent};
use bank_chassis::group_commit::Operation;
use sqlx::SqliteConnection;

/// Whether an event was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    Duplicate,
}

/// Counts one delivered event.
#[derive(Debug)]
pub(crate) struct Take(pub(crate) PaymentEvent);

impl Operation for Take {
    type Outcome = Taken;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<Taken> {
        let Self(event) = self;
        let duplicates: i64 = sqlx::query_scalar(
            "INSERT INTO events (id, taken_at) VALUES (?, ?)
             ON CONFLICT (id) DO UPDATE SET duplicates = duplicates + 1 RETURNING duplicates",
        )
        .bind(&event.id)
        .bind(clock::now_millis())
        .fetch_one(&mut *connection)
        .await?;
        if duplicates > 0 {
            return Ok(Taken::Duplicate);
        }
        let is = |outcome| i64::from(event.outcome == outcome);
        let completed = is(Outcome::Completed);
        sqlx::query(
            "INSERT INTO totals (day, currency, completed, declined, refunded, reviewed, amount_cents)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (day, currency) DO UPDATE SET completed = completed + ?3,
             declined = declined + ?4, refunded = refunded + ?5, reviewed = reviewed + ?6,
             amount_cents = amount_cents + ?7",
        )
        // The event was validated: its time has a day.
        .bind(clock::day_of(&event.occurred_at).unwrap_or_default())
        .bind(&event.currency)
        .bind(completed)
        .bind(is(Outcome::Declined))
        .bind(is(Outcome::Refunded))
        .bind(i64::from(event.decision == "REVIEW"))
        .bind(completed * event.amount_cents)
        .execute(connection)
        .await?;
        Ok(Taken::New)
    }
}
