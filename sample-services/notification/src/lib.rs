//! Tells customers what happened to their payments, over REST.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`).
//!
//! - `POST /v1/events` with header `Idempotency-Key: <event id>` answers 201 when the event is new, 200
//!   `{"duplicate":true}` when it had been taken before; an event is taken once.
//! - `GET /v1/notifications?customer=ID` or `?account=ID` `[&limit=N]`, newest first.
//! - `GET /v1/stats` `{"events","duplicates","notifications"}`; `GET /healthz`.

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
