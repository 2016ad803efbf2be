//! Facts about payments: real sockets and a real database, peers whose answers the test decides.

mod patience;
mod peers;

use std::time::{Duration, Instant};

use bank_chassis::client::{Answer, HttpClient};
use bank_chassis::settings::Setting;
use bank_chassis::shutdown::Trigger;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::peers::{Peers as Fakes, Reply};
use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// The service on a runtime of its own, which a test can end at once: what a crash leaves is what is stored.
struct Service {
    url: BaseUrl,
    http: HttpClient,
    _stop: Trigger,
    runtime: Option<Runtime>,
}

impl Service {
    async fn start(folder: &tempfile::TempDir, fakes: &Fakes) -> Self {
        let path = folder.path().join("transaction.db");
        let settings = Settings {
            database: DatabaseUrl::parse(path.to_str().expect("text")).expect("path"),
            account: fakes.grpc.clone(),
            fraud: fakes.grpc.clone(),
            notification: fakes.rest.clone(),
            reporting: fakes.rest.clone(),
            dialer: Dialer::direct(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let (stop, shutdown) = Shutdown::by_hand();
        let started = runtime.spawn(async move {
            let listener = Listener::bind("127.0.0.1:0".parse().expect("address"))
                .await
                .expect("bound");
            let url = format!("http://{}", listener.address().expect("address"));
            tokio::spawn(serve(listener, settings, shutdown));
            BaseUrl::parse(&url).expect("url")
        });
        let url = started.await.expect("started");
        let http = HttpClient::new(Dialer::direct());
        Self {
            url,
            http,
            _stop: stop,
            runtime: Some(runtime),
        }
    }

    /// Drops every task where it stands.
    fn crash(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn pay(&self, key: &str, cents: i64) -> (u16, Value) {
        let payment = json!({ "paymentId": key, "from": "a", "to": "b", "amountCents": cents, "currency": "EUR" });
        let url = self.url.join("/v1/payments");
        parse(
            self.http
                .post(url, key, payment.to_string(), LIMIT)
                .await
                .expect("answered"),
        )
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        parse(
            self.http
                .get(self.url.join(path), LIMIT)
                .await
                .expect("answered"),
        )
    }

    async fn wait_for_status(&self, id: &str, wanted: &str) {
        let path = format!("/v1/payments/{id}");
        eventually(async || self.get(&path).await.1["status"] == wanted).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn parse(answer: Answer) -> (u16, Value) {
    (
        answer.status.as_u16(),
        serde_json::from_slice(&answer.body).expect("JSON"),
    )
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_payment_moves_money_once_and_tells_everybody_once() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    let (status, first) = service.pay("p1", 100).await;
    assert_eq!(
        (status, &first["status"], &first["engine"]),
        (201, &json!("completed"), &json!("fake"))
    );
    let (status, again) = service.pay("p1", 100).await;
    assert_eq!((status, &again), (201, &first));
    let (status, _) = service.pay("p1", 101).await;
    assert_eq!(status, 409, "the key belongs to another amount");
    assert_eq!(fakes.booked(), ["p1/credit", "p1/debit"]);
    eventually(async || fakes.events().len() == 2).await;
    let event = &fakes.events()[0];
    assert_eq!(
        (&event["type"], &event["paymentId"]),
        (&json!("payment.completed"), &json!("p1"))
    );
    assert_eq!(
        (&event["fromCustomer"], &event["toCustomer"]),
        (&json!("owner-of-a"), &json!("owner-of-b"))
    );
    let (_, listed) = service.get("/v1/payments?account=b").await;
    assert_eq!(listed["payments"][0]["id"], "p1");
    eventually(async || service.get("/v1/stats").await.1["outbox"]["reporting"]["delivered"] == 1)
        .await;
}

#[tokio::test]
async fn a_refused_payment_charges_nothing_and_says_why() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("assess", Reply::Refuse);
    let (status, body) = service.pay("p1", 100).await;
    assert_eq!(
        (status, &body["reason"], &body["paymentStatus"]),
        (422, &json!("fraud"), &json!("declined"))
    );
    fakes.plan("assess", Reply::Done);
    fakes.plan("debit", Reply::Refuse);
    let (status, body) = service.pay("p2", 100).await;
    assert_eq!(
        (status, &body["reason"]),
        (422, &json!("insufficient-funds"))
    );
    assert!(fakes.booked().is_empty());
}

#[tokio::test]
async fn without_a_judgement_nothing_is_charged_and_the_key_may_try_again() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("assess", Reply::Unavailable);
    let (status, body) = service.pay("p1", 100).await;
    assert_eq!((status, &body["paymentStatus"]), (503, &json!("failed")));
    assert!(fakes.booked().is_empty());
    fakes.plan("assess", Reply::Done);
    let (status, body) = service.pay("p1", 100).await;
    assert_eq!(
        (status, &body["status"], &body["reason"]),
        (201, &json!("completed"), &json!(""))
    );
}

#[tokio::test]
async fn a_debit_without_an_answer_is_settled_later_and_once() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("debit", Reply::DoneUnanswered);
    let (status, body) = service.pay("p1", 100).await;
    assert_eq!((status, &body["paymentStatus"]), (503, &json!("pending")));
    fakes.plan("debit", Reply::Done);
    service.wait_for_status("p1", "completed").await;
    assert_eq!(fakes.booked(), ["p1/credit", "p1/debit"]);
}

#[tokio::test]
async fn a_credit_that_fails_is_retried_until_it_is_done() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("credit", Reply::Unavailable);
    let (status, body) = service.pay("p1", 100).await;
    assert_eq!((status, &body["status"]), (202, &json!("pending")));
    fakes.plan("credit", Reply::Done);
    service.wait_for_status("p1", "completed").await;
    assert_eq!(fakes.booked(), ["p1/credit", "p1/debit"]);
}

#[tokio::test]
async fn a_credit_that_is_refused_gives_the_money_back() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("credit", Reply::Refuse);
    let (status, body) = service.pay("p1", 100).await;
    assert_eq!((status, &body["paymentStatus"]), (422, &json!("refunded")));
    assert_eq!(fakes.booked(), ["p1/debit", "p1/refund"]);
    eventually(async || {
        fakes
            .events()
            .iter()
            .any(|event| event["type"] == "payment.refunded")
    })
    .await;
}

/// The crash is between a call's effect and its answer, the worst moment of each step.
#[tokio::test]
async fn a_crash_in_any_step_is_finished_after_the_restart_and_charges_once() {
    for step in ["assess", "debit", "credit"] {
        let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
        let service = Service::start(&folder, &fakes).await;
        fakes.plan(step, Reply::DoneAndSilent);
        let (url, http) = (service.url.join("/v1/payments"), service.http.clone());
        let body = r#"{"paymentId":"p1","from":"a","to":"b","amountCents":5,"currency":"EUR"}"#;
        let caller = tokio::spawn(async move { http.post(url, "p1", body.into(), LIMIT).await });
        eventually(async || fakes.asked(step) == 1).await;
        service.crash();
        caller
            .await
            .expect("joined")
            .expect_err("the service is gone");
        fakes.plan(step, Reply::Done);
        let service = Service::start(&folder, &fakes).await;
        service.wait_for_status("p1", "completed").await;
        assert_eq!(fakes.booked(), ["p1/credit", "p1/debit"], "{step}");
        assert_eq!(service.pay("p1", 5).await.0, 201, "{step}");
        eventually(async || fakes.events().len() >= 2).await;
        let ids: std::collections::HashSet<_> = fakes
            .events()
            .iter()
            .map(|event| event["id"].to_string())
            .collect();
        assert_eq!(ids.len(), 1, "one event, however often delivered ({step})");
    }
}

#[tokio::test]
async fn events_wait_for_a_consumer_that_is_away() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("event", Reply::Unavailable);
    for number in 0..3 {
        assert_eq!(service.pay(&format!("p{number}"), 100).await.0, 201);
    }
    assert!(fakes.events().is_empty());
    let (_, stats) = service.get("/v1/stats").await;
    assert_eq!(
        stats["outbox"]["notification"],
        json!({ "waiting": 3, "delivered": 0, "postponed": 0 })
    );
    fakes.plan("event", Reply::Done);
    eventually(async || {
        let (_, stats) = service.get("/v1/stats").await;
        let all = json!({ "waiting": 0, "delivered": 3, "postponed": 0 });
        stats["outbox"]["notification"] == all && stats["outbox"]["reporting"] == all
    })
    .await;
    assert_eq!(fakes.events().len(), 6);
}

#[tokio::test]
async fn a_malformed_request_is_refused_with_every_mistake() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    let url = service.url.join("/v1/payments");
    let body = r#"{"from":"a","to":"a","amountCents":"5","currency":"EUR","speed":1}"#;
    let answer = service
        .http
        .post(url, "spaced key", body.into(), LIMIT)
        .await
        .expect("answered");
    let (status, body) = parse(answer);
    let errors = body["errors"].as_array().expect("errors").clone();
    let fields: Vec<_> = errors
        .iter()
        .map(|error| error["field"].as_str().expect("text"))
        .collect();
    assert_eq!(status, 400);
    assert_eq!(fields, ["amountCents", "to", "Idempotency-Key", "speed"]);
}
