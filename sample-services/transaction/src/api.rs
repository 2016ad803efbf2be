//! The REST face: requests in, and for every state of a payment one answer.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bank_chassis::problem::{Mistake, Problem};
use bank_chassis::{rest, rules};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::Row;

use crate::desk::Desk;
use crate::payment::{Payment, State};
use crate::store::{Change, Changed, Store};
use crate::stuck;

/// Payments in one answer, unless the caller wants fewer.
const LIMIT_MAX: u32 = 100;

#[derive(Clone)]
struct Parts {
    desk: Arc<Desk>,
    store: Store,
}

pub(crate) fn routes(desk: Arc<Desk>, store: Store) -> Router {
    Router::new()
        .route("/v1/payments", get(list).post(pay))
        .route("/v1/payments/{id}", get(one))
        .route("/v1/stats", get(stats))
        .route("/v1/stuck", get(stuck))
        .with_state(Parts { desk, store })
}

async fn pay(
    Extract(parts): Extract<Parts>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    let payment = Payment::from_request(rest::idempotency_key(&headers), &body)?;
    if parts.desk.places.available_permits() == 0 {
        return Err(Problem::unavailable("too many payments are under way"));
    }
    let (payment, replayed) = match parts.store.change(Change::Begin(payment)).await? {
        Changed::Begun(payment) => (payment, false),
        Changed::Existing(payment) => (payment, true),
        Changed::Taken | Changed::Stored | Changed::Overtaken => return Err(taken(&headers)),
    };
    let mut response = answer(&parts.desk.process(payment).await);
    if replayed {
        let headers = response.headers_mut();
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn taken(headers: &HeaderMap) -> Problem {
    let key = headers
        .get(rest::IDEMPOTENCY_KEY)
        .and_then(|key| key.to_str().ok());
    let allowed = "a key and a paymentId of their own for every payment";
    let mistake = Mistake::new("Idempotency-Key", key.unwrap_or("nothing"), allowed);
    Problem::new(
        StatusCode::CONFLICT,
        "the key or the id belongs to another payment",
    )
    .with("errors", json!([mistake]))
}

fn answer(payment: &Payment) -> Response {
    match payment.state {
        State::Completed => (StatusCode::CREATED, Json(payment.to_json())).into_response(),
        State::Crediting | State::Refunding => {
            (StatusCode::ACCEPTED, Json(payment.to_json())).into_response()
        }
        State::Declined | State::Refunded => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            problem(status, "the payment is not possible", payment)
        }
        State::Failed => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "nothing was charged; try again",
            payment,
        ),
        State::Assessing | State::Debiting => {
            let title = "the payment is not finished and will be, without a second request";
            problem(StatusCode::SERVICE_UNAVAILABLE, title, payment)
        }
    }
}

fn problem(status: StatusCode, title: &'static str, payment: &Payment) -> Response {
    Problem::new(status, title)
        .with("paymentId", payment.id.as_str())
        .with("paymentStatus", payment.state.status())
        .with("reason", payment.reason.as_str())
        .with("engine", payment.engine.as_str())
        .into_response()
}

async fn one(
    Extract(parts): Extract<Parts>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let payment = parts.store.payment(&id).await?;
    payment
        .map(|payment| Json(payment.to_json()))
        .ok_or_else(|| Problem::not_found("id", &id))
}

#[derive(Debug, Deserialize)]
struct Filter {
    account: Option<String>,
    limit: Option<u32>,
}

async fn list(
    Extract(parts): Extract<Parts>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    let account = filter.account.unwrap_or_default();
    if !rules::is_id(&account) {
        return Err(Problem::invalid(&[Mistake::new(
            "account",
            &account,
            rules::ID,
        )]));
    }
    let limit = filter.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let payments = parts.store.payments_of(&account, limit).await?;
    let payments: Vec<Value> = payments.iter().map(Payment::to_json).collect();
    Ok(Json(json!({ "payments": payments })))
}

async fn stats(Extract(parts): Extract<Parts>) -> Result<Json<Value>, Problem> {
    let readers = parts.store.readers();
    let mut stats: Map<String, Value> = State::ALL
        .into_iter()
        .map(|state| (state.status().to_owned(), 0.into()))
        .collect();
    let mut engines: Map<String, Value> = Map::new();
    let rows =
        sqlx::query("SELECT state, engine, count(*) AS n FROM payments GROUP BY state, engine")
            .fetch_all(readers)
            .await?;
    for row in rows {
        let payments: i64 = row.try_get("n")?;
        let engine: &str = row.try_get("engine")?;
        add(
            &mut stats,
            State::parse(row.try_get("state")?)?.status(),
            payments,
        );
        if !engine.is_empty() {
            add(&mut engines, engine, payments);
        }
    }
    stats.insert("stuck".to_owned(), stuck::payments(readers).await?.into());
    stats.insert("engines".to_owned(), engines.into());
    stats.insert("outbox".to_owned(), stuck::outbox(readers).await?.into());
    Ok(Json(stats.into()))
}

async fn stuck(Extract(parts): Extract<Parts>) -> Result<Json<Value>, Problem> {
    stuck::list(parts.store.readers()).await
}

fn add(counts: &mut Map<String, Value>, name: &str, more: i64) {
    let before = counts.get(name).and_then(Value::as_i64).unwrap_or(0);
    counts.insert(name.to_owned(), (before + more).into());
}
