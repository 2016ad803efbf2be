//! Makes payments at a steady rate, whatever the answers: an open loop, so that a slow bank is seen
//! as slow instead of being asked less.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bank_chassis::client::{Answer, CallError, HttpClient};
use bank_chassis::shutdown::Shutdown;
use bank_chassis::trace;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::settings::Settings;
use crate::stats::{Outcome, Reply, Stats};

/// How long a payment may take; longer than transaction waits for all its peers.
const PAYMENT_LIMIT: Duration = Duration::from_secs(15);

/// Amounts are spread evenly from 1.00 to here: small against the deposit, so that nobody runs dry.
const AMOUNT_MAX_CENTS: i64 = 5_000;

/// Pays until `shutdown` or until the count is reached, then waits for the answers under way.
pub(crate) async fn drive(
    settings: &Settings,
    accounts: Vec<String>,
    stats: Arc<Stats>,
    shutdown: Shutdown,
) {
    let http = HttpClient::new(settings.dialer.clone());
    let url = settings.transaction.join("/v1/payments");
    let places = Arc::new(Semaphore::new(
        usize::try_from(settings.concurrency).unwrap_or(1),
    ));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / settings.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut left = settings.count;
    while left != Some(0) {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.clone().requested() => break,
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            stats.skipped();
            continue;
        };
        left = left.map(|count| count - 1);
        let payment = payment(&accounts, &settings.currency);
        let (http, url, stats) = (http.clone(), url.clone(), Arc::clone(&stats));
        stats.sent();
        let paying = async move {
            let begun = Instant::now();
            let answer = pay(&http, url, payment).await;
            stats.answered(&reply(answer), begun.elapsed());
            drop(place);
        };
        tokio::spawn(trace::scope(trace::TraceContext::begin(), paying));
    }
    // Each payment has its limit, so this ends.
    let _all = places.acquire_many(settings.concurrency).await;
}

fn payment(accounts: &[String], currency: &str) -> Value {
    let from = fastrand::usize(..accounts.len());
    // Never to oneself: one of the others, counted from the payer on.
    let to = (from + fastrand::usize(1..accounts.len())) % accounts.len();
    json!({
        "paymentId": uuid::Uuid::now_v7(),
        "from": accounts.get(from),
        "to": accounts.get(to),
        "amountCents": fastrand::i64(100..=AMOUNT_MAX_CENTS),
        "currency": currency,
        "reference": "teller",
    })
}

async fn pay(http: &HttpClient, url: String, payment: Value) -> Result<Answer, CallError> {
    let key = payment
        .get("paymentId")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    http.post(url, &key, payment.to_string(), PAYMENT_LIMIT)
        .await
}

fn reply(answer: Result<Answer, CallError>) -> Reply {
    match answer {
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer.body);
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let field = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
            let status = answer.status.as_u16();
            Reply {
                status,
                outcome: Outcome::of(status, field("paymentStatus")),
                engine: field("engine").to_owned(),
                text: text.chars().take(300).collect(),
            }
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(deeper) = cause {
                text = format!("{text}: {deeper}");
                cause = deeper.source();
            }
            Reply {
                status: 0,
                outcome: Outcome::Failed,
                engine: String::new(),
                text,
            }
        }
    }
}
