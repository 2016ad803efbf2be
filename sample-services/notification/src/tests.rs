//! Facts about notifications, through the REST interface.

use axum::Router;
use axum::body::Body;
use bank_chassis::settings::Setting;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

async fn service(folder: &tempfile::TempDir) -> Router {
    let path = folder.path().join("notification.db");
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
async fn an_event_that_comes_again_notifies_once() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    let event = event("e1", "payment.completed");
    assert_eq!(
        call(&service, delivery("e1", &event)).await.0,
        StatusCode::CREATED
    );
    for _ in 0..2 {
        let (status, body) = call(&service, delivery("e1", &event)).await;
        assert_eq!(
            (status, body),
            (StatusCode::OK, json!({ "duplicate": true }))
        );
    }
    let (_, stats) = call(&service, get("/v1/stats")).await;
    assert_eq!(
        stats,
        json!({ "events": 1, "duplicates": 2, "notifications": 2 })
    );
}

#[tokio::test]
async fn payer_and_payee_each_read_their_own() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    call(&service, delivery("e1", &event("e1", "payment.completed"))).await;
    call(&service, delivery("e2", &event("e2", "payment.declined"))).await;
    let (_, alice) = call(&service, get("/v1/notifications?customer=alice")).await;
    let messages: Vec<_> = alice["notifications"]
        .as_array()
        .expect("list")
        .iter()
        .map(|notification| notification["message"].as_str().expect("text"))
        .collect();
    assert_eq!(
        messages,
        [
            "Your payment of 12.34 EUR to b was declined: fraud.",
            "You paid 12.34 EUR to b."
        ]
    );
    let (_, bob) = call(&service, get("/v1/notifications?account=b")).await;
    assert_eq!(
        bob["notifications"][0]["message"],
        "You received 12.34 EUR from a."
    );
    assert_eq!(bob["notifications"].as_array().expect("list").len(), 1);
}

#[tokio::test]
async fn a_malformed_event_is_refused_with_every_mistake() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    let mut wrong = event("e1", "payment.lost");
    wrong["amountCents"] = json!(-1);
    wrong["colour"] = json!("red");
    let (status, body) = call(&service, delivery("e2", &wrong)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let fields: Vec<_> = body["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["field"].as_str().expect("text"))
        .collect();
    assert_eq!(fields, ["Idempotency-Key", "type", "amountCents", "colour"]);
    let (status, body) = call(&service, get("/v1/notifications")).await;
    assert_eq!(
        (status, &body["errors"][0]["field"]),
        (StatusCode::BAD_REQUEST, &json!("customer"))
    );
}
