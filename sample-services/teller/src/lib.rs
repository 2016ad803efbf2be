//! The load: opens customers and accounts, then makes payments between them at a steady rate.
//!
//! Environment (`RUST_LOG`, `http_proxy` and `no_proxy` as in `bank_chassis`; serves nothing):
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `ACCOUNT_URL`, `TRANSACTION_URL`, `CUSTOMER_URL` | peers, `http://HOST[:PORT]` | required |
//! | `TELLER_RATE` | payments begun per second | 50 |
//! | `TELLER_CONCURRENCY` | payments under way at once; when reached, payments are skipped and counted | 64 |
//! | `TELLER_COUNT` | stop after so many payments were answered | none: runs until SIGTERM |
//! | `TELLER_CUSTOMERS` | customers with one account each, `<run>-0000` …; 2 or more | 100 |
//! | `TELLER_OPENING_CENTS` | deposit of each account, from the house account | 1000000 |
//! | `TELLER_CURRENCY` | | `EUR` |
//! | `TELLER_RUN` | prefix of all ids, at most 20 characters; the same run finds its customers again | `teller` |
//! | `TELLER_STATS` | file, atomically replaced each second and at the end | none: one JSON line per second on stdout |
//!
//! Statistics: `{"done","elapsedMs","sent","ok","pending","declined","failed","skipped","inFlight","lastError",
//! "p50Us","p99Us","maxUs","engines":{NAME:N},"statuses":{STATUS:N}}`. `ok` = 201, `pending` = 202, `declined` = 422
//! that names a payment declined or refunded,
//! `failed` = everything else (no answer has the status "0"). Latencies are of all answered payments since the
//! start; `engines` counts who judged those that were `ok`. No payment is ever retried by the teller; with
//! `TELLER_COUNT`, `sent` = `TELLER_COUNT` at the end and `done` is true.

#![allow(
    clippy::print_stdout,
    reason = "statistics go to stdout when no file is named"
)]

mod settings;
mod opening;
mod payments;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bank_chassis::logging;
use bank_chassis::settings::Environment;
use bank_chassis::shutdown::Shutdown;

use crate::settings::Settings;
use crate::stats::Stats;

/// Opens everything, then pays until SIGTERM or SIGINT, or until `TELLER_COUNT` payments are done.
///
/// # Errors
/// When a variable is missing or wrong, or customers and accounts can't be opened within two minutes.
pub async fn run() -> anyhow::Result<()> {
    logging::start();
    let mut environment = Environment::of_process();
    let Some(settings) = Settings::read(&mut environment) else {
        return Err(environment.into_error().into());
    };
    let shutdown = Shutdown::on_signal()?;
    let accounts = tokio::select! {
        accounts = opening::open(&settings) => accounts?,
        () = shutdown.clone().requested() => return Ok(()),
    };
    let stats = Arc::new(Stats::default());
    let printing = tokio::spawn(stats::publish(Arc::clone(&stats), settings.stats.clone()));
    payments::drive(&settings, accounts, Arc::clone(&stats), shutdown).await;
    printing.abort();
    stats::write(
        &stats.snapshot(stats::Phase::Done),
        settings.stats.as_deref(),
    );
    Ok(())
}
