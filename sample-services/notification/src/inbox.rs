//! Takes an event: remembers its id and writes the notifications in one transaction, so that neither
//! can be without the other and a repeated delivery writes nothing.

use bank_chassis::clock;
use bank_chassis::event::PaymentEvent;
use bank_chassis::group_commit::Operation;
use sqlx::SqliteConnection;

use crate::message;

/// Whether an event was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    Duplicate,
}

/// Takes one delivered event.
#[derive(Debug)]
pub(crate) struct Take(pub(crate) PaymentEvent);

impl Operation for Take {
    type Outcome = Taken;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<Taken> {
        let Self(event) = self;
        let now = clock::now_millis();
        let duplicates: i64 = sqlx::query_scalar(
            "INSERT INTO events (id, taken_at) VALUES (?, ?)
             ON CONFLICT (id) DO UPDATE SET duplicates = duplicates + 1 RETURNING duplicates",
        )
        .bind(&event.id)
        .bind(now)
        .fetch_one(&mut *connection)
        .await?;
        if duplicates > 0 {
            return Ok(Taken::Duplicate);
        }
        for notification in message::compose(event) {
            sqlx::query(
                "INSERT INTO notifications (event_id, account, customer, message, created_at)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&event.id)
            .bind(notification.account)
            .bind(notification.customer)
            .bind(notification.message)
            .bind(now)
            .execute(&mut *connection)
            .await?;
        }
        Ok(Taken::New)
    }
}
