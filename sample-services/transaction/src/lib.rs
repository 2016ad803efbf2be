//! Payments, over REST: assess, debit, credit, store, tell.
//!
//! Every step is stored before the next begins, and every step has an operation id made from the
//! payment's, so that a payment found half-done (after a crash, or because a peer was away) is simply
//! driven on: what was done before answers as it did then.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG`, `http_proxy` (see `bank_chassis`) and the peers'
//! addresses `ACCOUNT_URL`, `FRAUD_URL`, `NOTIFICATION_URL`, `REPORTING_URL` (`http://HOST[:PORT]`, all required).
//!
//! - `POST /v1/payments` with header `Idempotency-Key` (1 to 64 of `A-Z a-z 0-9 . _ -`; without it `paymentId`
//!   is the key) and `{"paymentId"?, "from", "to", "amountCents", "currency", "reference"?}` answers
//!   - 201 `{"id","status":"completed","engine","decision","score","from","to","amountCents","currency","reference","reason","createdAt"}`
//!   - 202 the same with `"status":"pending"`: debited, not yet credited; will be finished without the caller
//!   - 422 problem `{…,"paymentId","paymentStatus":"declined"|"refunded","reason","engine"}`; the reason is `fraud`,
//!     `insufficient-funds`, `currency-mismatch`, `account-unknown` …
//!   - 503 problem with `"paymentStatus":"failed"` (nothing was charged; the same key tries again) or `"pending"`
//!     (may have been charged; will be finished without the caller)
//!   - 400 problem with `errors:[{field,found,allowed}]`, 409 when the key belongs to another payment.
//!
//!   The same key answers with the same payment, with header `idempotent-replayed: true`.
//! - `GET /v1/payments/{id}`; `GET /v1/payments?account=ID[&limit=N]` newest first.
//! - `GET /v1/stats` `{"pending","completed","declined","failed","refunded","stuck","engines":{NAME:N},
//!   "outbox":{"notification":{"waiting","delivered","postponed"},"reporting":{…}}}`; what is stuck is pending,
//!   what is postponed is waiting.
//! - `GET /v1/stuck`, what a person should look at, 100 of each, oldest first:
//!   `{"payments":[{"id","step","attempts","trouble","reason","createdAt","nextAttemptAt"}],
//!   "events":[{"id","consumer","refusals","failures","createdAt","nextAttemptAt"}]}`. All of it is tried on.
//! - `GET /healthz`.
//!
//! Events go to `POST {NOTIFICATION_URL}/v1/events` and `POST {REPORTING_URL}/v1/events` at least once.

mod payment;
mod store;
mod peers;
mod desk;
mod outbox;
mod stuck;
mod api;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use bank_chassis::client::HttpClient;
use bank_chassis::database::{Database, Durability, migrations};
use bank_chassis::dial::Dialer;
use bank_chassis::rest::Listener;
use bank_chassis::settings::{BaseUrl, DatabaseUrl, Environment};
use bank_chassis::shutdown::Shutdown;
use bank_chassis::{logging, rest};
use sqlx::migrate::Migrator;

use crate::desk::Desk;
use crate::outbox::Relay;
use crate::peers::Peers;
use crate::store::Store;

/// How long a stopping service waits for its last commit.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    migrations(&[
        (
            1,
            "payments",
            include_str!("../migrations/0001_payments.sql"),
        ),
        (
            2,
            "patience",
            include_str!("../migrations/0002_patience.sql"),
        ),
    ])
});

/// What the service needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own database.
    pub database: DatabaseUrl,
    /// Serves `bank.account.v1.Account`.
    pub account: BaseUrl,
    /// Serves `bank.fraud.v1.Fraud`.
    pub fraud: BaseUrl,
    /// Takes events.
    pub notification: BaseUrl,
    /// Takes events, too.
    pub reporting: BaseUrl,
    /// How all of them are reached.
    pub dialer: Dialer,
}

impl Settings {
    fn read(environment: &mut Environment) -> Option<Self> {
        let database = environment.required("DATABASE_URL");
        let (account, fraud) = (
            environment.required("ACCOUNT_URL"),
            environment.required("FRAUD_URL"),
        );
        let (notification, reporting) = (
            environment.required("NOTIFICATION_URL"),
            environment.required("REPORTING_URL"),
        );
        let dialer = Dialer::from_environment(environment);
        Some(Self {
            database: database?,
            account: account?,
            fraud: fraud?,
            notification: notification?,
            reporting: reporting?,
            dialer: dialer?,
        })
    }
}

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    logging::start();
    let mut environment = Environment::of_process();
    let (listen, settings) = (environment.listen(), Settings::read(&mut environment));
    let (Some(listen), Some(settings)) = (listen, settings) else {
        return Err(environment.into_error().into());
    };
    let shutdown = Shutdown::on_signal()?;
    serve(Listener::bind(listen).await?, settings, shutdown).await
}

/// Serves on `listener` until `shutdown`; returns when all payments under way have stopped at a stored step.
///
/// # Errors
/// When the database can't be opened or the server fails for good.
pub async fn serve(
    listener: Listener,
    settings: Settings,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let database = Database::open(&settings.database, Durability::PowerCut, &MIGRATIONS).await?;
    let (store, written) = Store::start(&database);
    let peers = Peers::new(&settings)?;
    let desk = Arc::new(Desk::new(store.clone(), peers));
    let client = HttpClient::new(settings.dialer);
    let consumers = [
        (outbox::NOTIFICATION, settings.notification),
        (outbox::REPORTING, settings.reporting),
    ];
    let mut tasks = vec![tokio::spawn(Arc::clone(&desk).resume(shutdown.clone()))];
    for (consumer, url) in consumers {
        let relay = Relay {
            consumer,
            url,
            client: client.clone(),
            store: store.clone(),
        };
        tasks.push(tokio::spawn(relay.run(shutdown.clone())));
    }
    let routes = api::routes(Arc::clone(&desk), store);
    rest::serve(listener, routes, shutdown).await?;
    desk.finish().await;
    for task in tasks {
        task.await?;
    }
    drop(desk);
    // A payment that did not finish in time still holds a writer; its step is stored or it is not.
    if tokio::time::timeout(WRITE_LIMIT, written).await.is_err() {
        tracing::warn!("stopped while payments were under way");
    }
    database.close().await;
    Ok(())
}
