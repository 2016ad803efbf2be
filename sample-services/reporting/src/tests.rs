//! Facts about reports, through the REST interface.

use axum::Router;
use axum::body::Body;
use bank_chassis::settings::Setting;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

async fn service(folder: &tempfile::TempDir) -> Router {
    let path = folder.path().join("reporting.db");
    let url = DatabaseUrl::parse(path.to_str().expect("text")).expect("path");
    let database = Database::open(&url, Durability::ProcessDeath, &MIGRATIONS)
        .await
        .expect("opened");
    let (writer, _task) = Writer::start(&database);
    rest::guard(api::routes(writer, database.readers))
}

async fn call(service: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let answer = service.clone().oneshot(request).await.expect("answered");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn delivery(key: &str, event: &Value) -> Request<Body> {
    Request::post("/v1/events")
        .header("Idempotency-Key", key)
        .body(Body::from(event.to_string()))
        .expect("request")
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("request")
}

fn event(id: &str, outcome: &str) -> Value {
    json!({
        "id": id, "type": outcome, "occurredAt": "2026-11-22T12:00:00Z", "paymentId": "p1",
        "from": "a", "to": "b", "fromCustomer": "alice", "toCustomer": "bob",
        "amountCents": 1234, "currency": "EUR", "reference": "rent", "reason": "fraud",
        "engine": "fraud-rules", "decision": "APPROVE"
    })
}

#[tokio::test]
async fn an_event_that_comes_again_counts_once() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    let event = event("e1", "payment.completed");
    assert_eq!(
        call(&service, delivery("e1", &event)).await.0,
        StatusCode::CREATED
    );
    let (status, body) = call(&service, delivery("e1", &event)).await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, json!({ "duplicate": true }))
    );
    let (_, totals) = call(&service, get("/v1/totals")).await;
    assert_eq!(totals["totals"][0]["completed"], 1);
    assert_eq!(totals["totals"][0]["amountCents"], 1234);
    let (_, stats) = call(&service, get("/v1/stats")).await;
    assert_eq!(stats, json!({ "events": 1, "duplicates": 1 }));
}

#[tokio::test]
async fn payments_are_reported_by_the_utc_day_they_ended() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    for (number, (time, outcome)) in [
        ("2026-11-22T12:00:00Z", "payment.completed"),
        ("2026-11-23T00:30:00+01:00", "payment.completed"),
        ("2026-11-23T00:30:00Z", "payment.declined"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("e{number}");
        let mut event = event(&id, outcome);
        event["occurredAt"] = json!(time);
        event["decision"] = json!("REVIEW");
        assert_eq!(
            call(&service, delivery(&id, &event)).await.0,
            StatusCode::CREATED
        );
    }
    let (_, report) = call(&service, get("/v1/reports/daily")).await;
    assert_eq!(report["days"][0]["day"], "2026-11-23");
    assert_eq!(report["days"][0]["declined"], 1);
    assert_eq!(report["days"][0]["amountCents"], 0);
    assert_eq!(report["days"][1]["completed"], 2);
    assert_eq!(report["days"][1]["reviewed"], 2);
    assert_eq!(report["days"][1]["amountCents"], 2468);
    let (_, one) = call(&service, get("/v1/reports/daily?day=2026-11-22")).await;
    assert_eq!(one["days"].as_array().expect("list").len(), 1);
    let (status, _) = call(&service, get("/v1/reports/daily?day=yesterday")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
