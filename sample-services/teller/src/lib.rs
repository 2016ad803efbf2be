//! The load: opens customers and accounts, then makes payments between them at a steady rate.
//!
//! Environment (`RUST_LOG` and `http_proxy` as in `bank_chassis`; serves nothing):
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `ACCOUNT_URL`, `TRANSACTION_URL`, `CUSTOMER_URL` | peers, `http://HOST[:PORT]` | required |
//! | `TELLER_RATE` | payments begun per second | 50 |
//! | `TELLER_CONCURRENCY` | payments under way at once; when reached, payments are skipped and counted | 64 |
//! | `TELLER_COUNT` | stop after so many payments were answered | none: runs until SIGTERM |
//! | `TELLER_CUSTOMERS` | customers with one account each, `<run>-0000` … | 100 |
//! | `TELLER_OPENING_CENTS` | deposit of each account, from the house account | 1000000 |
//! | `TELLER_CURRENCY` | | `EUR` |
//! | `TELLER_RUN` | prefix of all ids; the same run finds its customers again | `teller` |
//! | `TELLER_STATS` | file, atomically replaced each second and at the end | none: one JSON line per second on stdout |
//!
//! Statistics: `{"done","elapsedMs","sent","ok","pending","declined","failed","skipped","inFlight","lastError",
//! "p50Us","p99Us","maxUs","engines":{NAME:N},"statuses":{STATUS:N}}`. `ok` = 201, `pending` = 202, `declined` = 422,
//! `failed` = everything else (no answer has the status "0"). No payment is ever retried by the teller.

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
