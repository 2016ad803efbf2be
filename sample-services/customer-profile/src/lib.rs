//! Customers, over REST.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`).
//!
//! - `POST /v1/customers` `{"id"?, "name", "email"}` answers 201 with the customer, 200 when the very same
//!   customer exists already, 409 when the id or the e-mail address belongs to another.
//! - `GET /v1/customers/{id}`; `GET /v1/customers[?after=ID][&limit=N]` by id; `GET /healthz`.
//! - `GET /v1/stats` `{"customers"}`.

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
