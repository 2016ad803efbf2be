//! Totals of all payments by day and currency, over REST.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`).
//!
//! - `POST /v1/events` with header `Idempotency-Key: <event id>` answers 201 when the event is new, 200
//!   `{"duplicate":true}` when it had been taken before; an event is counted once.
//! - `GET /v1/reports/daily[?day=YYYY-MM-DD]` `{"days":[{"day","currency","completed","declined","refunded",
//!   "reviewed","amountCents"}]}`, newest first; the amount is that of completed payments.
//! - `GET /v1/totals` `{"totals":[{"currency","completed","declined","refunded","reviewed","amountCents"}]}`.
//! - `GET /v1/stats` `{"events","duplicates"}`; `GET /healthz`.

mod tally;
mod api;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use bank_chassis::database::{Database, Durability, migrations};
use bank_chassis::group_commit::Writer;
use bank_chassis::rest::Listener;
use bank_chassis::settings::{DatabaseUrl, Environment};
use bank_chassis::shutdown::Shutdown;
use bank_chassis::{logging, rest};
use sqlx::migrate::Migrator;

static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| migrations(&[(1, "totals", include_str!("../migrations/0001_totals.sql"))]));

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    logging::start();
    let mut environment = Environment::of_process();
    let listen = environment.listen();
    let database = environment.required::<DatabaseUrl>("DATABASE_URL");
    let (Some(listen), Some(database)) = (listen, database) else {
        return Err(environment.into_error().into());
    };
    let database = Database::open(&database, Durability::ProcessDeath, &MIGRATIONS).await?;
    let (writer, written) = Writer::start(&database);
    let routes = api::routes(writer, database.readers.clone());
    let shutdown = Shutdown::on_signal()?;
    rest::serve(Listener::bind(listen).await?, routes, shutdown).await?;
    written.await?;
    database.close().await;
    Ok(())
}
