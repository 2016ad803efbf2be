//! The REST face: deliveries in, notifications out.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bank_chassis::event::PaymentEvent;
use bank_chassis::group_commit::Writer;
use bank_chassis::problem::{Mistake, Problem};
use bank_chassis::{clock, rest, rules};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqlitePool};

use crate::inbox::{Take, Taken};

/// Notifications in one answer, unless the caller wants fewer.
const LIMIT_MAX: u32 = 100;

#[derive(Clone)]
struct Parts {
    writer: Writer<Take>,
    readers: SqlitePool,
}

pub(crate) fn routes(writer: Writer<Take>, readers: SqlitePool) -> Router {
    Router::new()
        .route("/v1/events", post(take))
        .route("/v1/notifications", get(list))
        .route("/v1/stats", get(stats))
        .with_state(Parts { writer, readers })
}

async fn take(
    State(parts): State<Parts>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    let event = PaymentEvent::from_delivery(rest::idempotency_key(&headers), &body)?;
    Ok(match parts.writer.submit(Take(event)).await? {
        Taken::New => (StatusCode::CREATED, Json(json!({ "duplicate": false }))).into_response(),
        Taken::Duplicate => Json(json!({ "duplicate": true })).into_response(),
    })
}

#[derive(Debug, Deserialize)]
struct Filter {
    customer: Option<String>,
    account: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(parts): State<Parts>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    let (select, id) = match (&filter.customer, &filter.account) {
        (Some(customer), None) => (BY_CUSTOMER, customer),
        (None, Some(account)) => (BY_ACCOUNT, account),
        (None, None) => return Err(refuse("nothing")),
        (Some(_), Some(_)) => return Err(refuse("both")),
    };
    if !rules::is_id(id) {
        return Err(refuse(id));
    }
    let limit = filter.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let rows = sqlx::query(select)
        .bind(id)
        .bind(limit)
        .fetch_all(&parts.readers)
        .await?;
    let notifications: sqlx::Result<Vec<Value>> = rows
        .iter()
        .map(|row| {
            Ok(json!({
                "eventId": row.try_get::<&str, _>("event_id")?,
                "account": row.try_get::<&str, _>("account")?,
                "customer": row.try_get::<Option<&str>, _>("customer")?,
                "message": row.try_get::<&str, _>("message")?,
                "createdAt": clock::rfc3339(row.try_get("created_at")?),
            }))
        })
        .collect();
    Ok(Json(json!({ "notifications": notifications? })))
}

const BY_CUSTOMER: &str = "SELECT event_id, account, customer, message, created_at
    FROM notifications WHERE customer = ? ORDER BY id DESC LIMIT ?";
const BY_ACCOUNT: &str = "SELECT event_id, account, customer, message, created_at
    FROM notifications WHERE account = ? ORDER BY id DESC LIMIT ?";

fn refuse(found: &str) -> Problem {
    let allowed = format!("either a customer or an account, {}", rules::ID);
    Problem::invalid(&[Mistake::new("customer", found, &allowed)])
}

async fn stats(State(parts): State<Parts>) -> Result<Json<Value>, Problem> {
    let row = sqlx::query(
        "SELECT count(*) AS events, coalesce(sum(duplicates), 0) AS duplicates,
                (SELECT count(*) FROM notifications) AS notifications FROM events",
    )
    .fetch_one(&parts.readers)
    .await?;
    Ok(Json(json!({
        "events": row.try_get::<i64, _>("events")?,
        "duplicates": row.try_get::<i64, _>("duplicates")?,
        "notifications": row.try_get::<i64, _>("notifications")?,
    })))
}
