//! What a person should look at: payments that don't finish by themselves, events that nobody takes.
//!
//! All of it is tried on, ever more rarely; nothing here is given up, and it leaves the list by itself.

use axum::Json;
use bank_chassis::clock;
use bank_chassis::problem::Problem;
use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

/// Whether an unfinished payment is stuck: a peer refuses what it must not, or has not answered for half a minute.
const STUCK: &str = "state IN ('assessing', 'debiting', 'crediting', 'refunding')
     AND (trouble <> '' OR attempts >= 10)";

/// Whether a letter is: its consumer refuses it, or fails at it while it takes others.
const POSTPONED: &str = "delivered_at IS NULL AND (refusals > 0 OR failures > 0)";

/// Rows of each kind in one answer.
const LIST_MAX: u32 = 100;

/// Everything that is stuck, oldest first.
///
/// # Errors
/// When the database can't be read.
pub(crate) async fn list(readers: &SqlitePool) -> Result<Json<Value>, Problem> {
    let payments = format!(
        "SELECT id, state, attempts, trouble, reason, created_at, next_attempt_at FROM payments
         WHERE {STUCK} ORDER BY created_at LIMIT {LIST_MAX}"
    );
    let payments = sqlx::query(sqlx::AssertSqlSafe(payments))
        .fetch_all(readers)
        .await?;
    let payments: sqlx::Result<Vec<Value>> = payments.iter().map(payment).collect();
    let events = format!(
        "SELECT event_id, consumer, refusals, failures, created_at, next_attempt_at FROM outbox
         WHERE {POSTPONED} ORDER BY sequence LIMIT {LIST_MAX}"
    );
    let events = sqlx::query(sqlx::AssertSqlSafe(events))
        .fetch_all(readers)
        .await?;
    let events: sqlx::Result<Vec<Value>> = events.iter().map(event).collect();
    Ok(Json(json!({ "payments": payments?, "events": events? })))
}

fn payment(row: &SqliteRow) -> sqlx::Result<Value> {
    Ok(json!({
        "id": row.try_get::<&str, _>("id")?,
        "step": row.try_get::<&str, _>("state")?,
        "attempts": row.try_get::<u32, _>("attempts")?,
        "trouble": row.try_get::<&str, _>("trouble")?,
        "reason": row.try_get::<&str, _>("reason")?,
        "createdAt": clock::rfc3339(row.try_get("created_at")?),
        "nextAttemptAt": clock::rfc3339(row.try_get("next_attempt_at")?),
    }))
}

fn event(row: &SqliteRow) -> sqlx::Result<Value> {
    Ok(json!({
        "id": row.try_get::<&str, _>("event_id")?,
        "consumer": row.try_get::<&str, _>("consumer")?,
        "refusals": row.try_get::<u32, _>("refusals")?,
        "failures": row.try_get::<u32, _>("failures")?,
        "createdAt": clock::rfc3339(row.try_get("created_at")?),
        "nextAttemptAt": clock::rfc3339(row.try_get("next_attempt_at")?),
    }))
}

/// How many payments are stuck.
///
/// # Errors
/// When the database can't be read.
pub(crate) async fn payments(readers: &SqlitePool) -> sqlx::Result<i64> {
    let count = format!("SELECT count(*) FROM payments WHERE {STUCK}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(count))
        .fetch_one(readers)
        .await
}

/// Of each consumer with events: `{"waiting","delivered","postponed"}`; those postponed are waiting, too.
///
/// # Errors
/// When the database can't be read.
pub(crate) async fn outbox(readers: &SqlitePool) -> sqlx::Result<Map<String, Value>> {
    let counts = format!(
        "SELECT consumer, count(*) - count(delivered_at) AS waiting, count(delivered_at) AS delivered,
         sum({POSTPONED}) AS postponed FROM outbox GROUP BY consumer"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(counts))
        .fetch_all(readers)
        .await?;
    let counts = rows.iter().map(|row| {
        let count = |name| row.try_get::<i64, _>(name);
        let counts = json!({
            "waiting": count("waiting")?,
            "delivered": count("delivered")?,
            "postponed": count("postponed")?,
        });
        Ok((row.try_get("consumer")?, counts))
    });
    counts.collect()
}
