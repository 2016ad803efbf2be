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

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
