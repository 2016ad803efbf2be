//! Accounts and their ledger, over gRPC (`bank.account.v1.Account`, `grpc.health.v1.Health`).
//!
//! Every change is an entry; a balance is the sum of its entries. Operations are idempotent by
//! `operation_id`, refusals included. Several processes may serve one database file at once: SQLite's
//! lock puts their transactions in one order, and every answer is read inside the transaction.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`).

mod ledger;
mod totals;
mod service;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use bank_chassis::database::{Database, Durability, migrations};
use bank_chassis::group_commit::Writer;
use bank_chassis::proto::account::account_server::{AccountServer, SERVICE_NAME};
use bank_chassis::rest::Listener;
use bank_chassis::settings::{DatabaseUrl, Environment};
use bank_chassis::shutdown::Shutdown;
use bank_chassis::{grpc, logging};
use sqlx::migrate::Migrator;
use tonic::service::Routes;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    migrations(&[
        (1, "ledger", include_str!("../migrations/0001_ledger.sql")),
        (2, "houses", include_str!("../migrations/0002_houses.sql")),
    ])
});

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
    let shutdown = Shutdown::on_signal()?;
    serve(Listener::bind(listen).await?, &database, shutdown).await
}

/// Serves on `listener` until `shutdown`; returns when all accepted operations are stored.
///
/// # Errors
/// When the database can't be opened or the server fails for good.
pub async fn serve(
    listener: Listener,
    database: &DatabaseUrl,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let database = Database::open(database, Durability::PowerCut, &MIGRATIONS).await?;
    let (writer, written) = Writer::start(&database);
    let account = service::AccountService::new(writer, database.readers.clone());
    let routes = Routes::new(AccountServer::new(account));
    grpc::serve(listener, SERVICE_NAME, routes, shutdown).await?;
    written.await?;
    database.close().await;
    Ok(())
}
