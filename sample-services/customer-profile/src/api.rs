//! The REST face of the register of customers.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bank_chassis::group_commit::Writer;
use bank_chassis::problem::{Mistake, Problem};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::SqlitePool;

use crate::register::{Customer, Register, Registered};

/// Customers in one answer, unless the caller wants fewer.
const LIMIT_MAX: u32 = 100;

#[derive(Clone)]
struct Parts {
    writer: Writer<Register>,
    readers: SqlitePool,
}

pub(crate) fn routes(writer: Writer<Register>, readers: SqlitePool) -> Router {
    Router::new()
        .route("/v1/customers", get(list).post(register))
        .route("/v1/customers/{id}", get(one))
        .route("/v1/stats", get(stats))
        .with_state(Parts { writer, readers })
}

async fn register(
    State(parts): State<Parts>,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    let customer = Customer::from_body(&body)?;
    let (id, email) = (customer.id.clone(), customer.email.clone());
    match parts.writer.submit(Register(customer)).await? {
        Registered::New(customer) => {
            Ok((StatusCode::CREATED, Json(customer.to_json())).into_response())
        }
        Registered::Already(customer) => Ok(Json(customer.to_json()).into_response()),
        Registered::Conflict(field) => {
            let found = if field == "id" { id } else { email };
            let mistake = Mistake::new(field, &found, "one that no other customer has");
            let title = "this belongs to another customer";
            Err(Problem::new(StatusCode::CONFLICT, title).with("errors", json!([mistake])))
        }
    }
}

async fn one(State(parts): State<Parts>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let row = sqlx::query("SELECT id, name, email, created_at FROM customers WHERE id = ?")
        .bind(&id)
        .fetch_optional(&parts.readers)
        .await?;
    let row = row.ok_or_else(|| Problem::not_found("id", &id))?;
    Ok(Json(Customer::from_row(&row)?.to_json()))
}

#[derive(Debug, Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(parts): State<Parts>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let rows = sqlx::query(
        "SELECT id, name, email, created_at FROM customers WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(page.after.unwrap_or_default())
    .bind(limit)
    .fetch_all(&parts.readers)
    .await?;
    let customers = rows
        .iter()
        .map(Customer::from_row)
        .collect::<sqlx::Result<Vec<Customer>>>()?;
    // A short page is the last one.
    let full = u32::try_from(customers.len()).is_ok_and(|length| length == limit);
    let next = customers
        .last()
        .filter(|_| full)
        .map(|customer| customer.id.clone());
    let customers: Vec<Value> = customers.iter().map(Customer::to_json).collect();
    Ok(Json(json!({ "customers": customers, "next": next })))
}

async fn stats(State(parts): State<Parts>) -> Result<Json<Value>, Problem> {
    let customers: i64 = sqlx::query_scalar("SELECT count(*) FROM customers")
        .fetch_one(&parts.readers)
        .await?;
    Ok(Json(json!({ "customers": customers })))
}
