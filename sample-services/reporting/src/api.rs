//! The REST face: deliveries in, totals out.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bank_chassis::event::PaymentEvent;
use bank_chassis::group_commit::Writer;
use bank_chassis::problem::{Mistake, Problem};
use bank_chassis::rest;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use time::Date;
use time::macros::format_description;

use crate::tally::{Take, Taken};

/// Days in one answer.
const DAYS: &str = "SELECT day, currency, completed, declined, refunded, reviewed, amount_cents
    FROM totals WHERE ?1 IS NULL OR day = ?1 ORDER BY day DESC, currency LIMIT 366";
const TOTALS: &str = "SELECT currency, sum(completed) AS completed, sum(declined) AS declined,
    sum(refunded) AS refunded, sum(reviewed) AS reviewed, sum(amount_cents) AS amount_cents
    FROM totals GROUP BY currency ORDER BY currency";

#[derive(Clone)]
struct Parts {
    writer: Writer<Take>,
    readers: SqlitePool,
}

pub(crate) fn routes(writer: Writer<Take>, readers: SqlitePool) -> Router {
    Router::new()
        .route("/v1/events", post(take))
        .route("/v1/reports/daily", get(daily))
        .route("/v1/totals", get(totals))
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
    day: Option<String>,
}

async fn daily(
    State(parts): State<Parts>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    if let Some(day) = &filter.day
        && Date::parse(day, format_description!("[year]-[month]-[day]")).is_err()
    {
        return Err(Problem::invalid(&[Mistake::new(
            "day",
            day,
            "a day, YYYY-MM-DD",
        )]));
    }
    let rows = sqlx::query(DAYS)
        .bind(filter.day)
        .fetch_all(&parts.readers)
        .await?;
    let days: sqlx::Result<Vec<Value>> = rows
        .iter()
        .map(|row| {
            let mut line = line(row)?;
            line.insert("day".to_owned(), row.try_get::<&str, _>("day")?.into());
            Ok(line.into())
        })
        .collect();
    Ok(Json(json!({ "days": days? })))
}

async fn totals(State(parts): State<Parts>) -> Result<Json<Value>, Problem> {
    let rows = sqlx::query(TOTALS).fetch_all(&parts.readers).await?;
    let totals: sqlx::Result<Vec<Map<String, Value>>> = rows.iter().map(line).collect();
    Ok(Json(json!({ "totals": totals? })))
}

fn line(row: &SqliteRow) -> sqlx::Result<Map<String, Value>> {
    let counts = json!({
        "currency": row.try_get::<&str, _>("currency")?,
        "completed": row.try_get::<i64, _>("completed")?,
        "declined": row.try_get::<i64, _>("declined")?,
        "refunded": row.try_get::<i64, _>("refunded")?,
        "reviewed": row.try_get::<i64, _>("reviewed")?,
        "amountCents": row.try_get::<i64, _>("amount_cents")?,
    });
    let Value::Object(counts) = counts else {
        return Ok(Map::new());
    };
    Ok(counts)
}

async fn stats(State(parts): State<Parts>) -> Result<Json<Value>, Problem> {
    let row = sqlx::query(
        "SELECT count(*) AS events, coalesce(sum(duplicates), 0) AS duplicates FROM events",
    )
    .fetch_one(&parts.readers)
    .await?;
    Ok(Json(json!({
        "events": row.try_get::<i64, _>("events")?,
        "duplicates": row.try_get::<i64, _>("duplicates")?,
    })))
}
