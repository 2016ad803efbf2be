//! Facts about customers, through the REST interface.

use axum::Router;
use axum::body::Body;
use bank_chassis::settings::Setting;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

async fn service(folder: &tempfile::TempDir) -> Router {
    let path = folder.path().join("customers.db");
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

fn post(customer: &Value) -> Request<Body> {
    Request::post("/v1/customers")
        .body(Body::from(customer.to_string()))
        .expect("request")
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("request")
}

#[tokio::test]
async fn a_customer_is_registered_once() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    let alice = json!({ "id": "alice", "name": "Alice Ant", "email": "alice@example.org" });
    assert_eq!(call(&service, post(&alice)).await.0, StatusCode::CREATED);
    assert_eq!(call(&service, post(&alice)).await.0, StatusCode::OK);
    for other in [
        json!({ "id": "alice", "name": "Alice Bee", "email": "alice@example.org" }),
        json!({ "id": "bob", "name": "Bob", "email": "Alice@example.org" }),
    ] {
        let (status, body) = call(&service, post(&other)).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
    }
    let (_, stored) = call(&service, get("/v1/customers/alice")).await;
    assert_eq!(stored["name"], "Alice Ant");
    let (_, stats) = call(&service, get("/v1/stats")).await;
    assert_eq!(stats, json!({ "customers": 1 }));
}

#[tokio::test]
async fn customers_are_listed_page_by_page() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    for id in ["c", "a", "b"] {
        let customer = json!({ "id": id, "name": id, "email": format!("{id}@example.org") });
        call(&service, post(&customer)).await;
    }
    let (_, first) = call(&service, get("/v1/customers?limit=2")).await;
    assert_eq!(
        (&first["customers"][0]["id"], &first["next"]),
        (&json!("a"), &json!("b"))
    );
    let (_, second) = call(&service, get("/v1/customers?limit=2&after=b")).await;
    assert_eq!(
        (&second["customers"][0]["id"], &second["next"]),
        (&json!("c"), &Value::Null)
    );
}

#[tokio::test]
async fn a_customer_needs_a_name_and_an_address() {
    let folder = tempfile::tempdir().expect("folder");
    let service = service(&folder).await;
    let (status, body) = call(&service, post(&json!({ "name": " ", "email": "nowhere" }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["errors"][0]["field"], "name");
    assert_eq!(body["errors"][1]["field"], "email");
    assert_eq!(
        call(&service, get("/v1/customers/nobody")).await.0,
        StatusCode::NOT_FOUND
    );
}
