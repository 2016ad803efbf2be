//! Payments, over REST: assess, debit, credit, store, tell.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG`, `http_proxy` (see `bank_chassis`) and the peers'
//! addresses `ACCOUNT_URL`, `FRAUD_URL`, `NOTIFICATION_URL`, `REPORTING_URL` (`http://HOST[:PORT]`, all required).
//!
//! - `POST /v1/payments` with header `Idempotency-Key` (1 to 64 of `A-Z a-z 0-9 . _ -`; without it `paymentId`
//!   is the key) and `{"paymentId"?, "from", "to", "amountCents", "currency", "reference"?}` answers
//!   - 201 `{"id","status":"completed","engine","decision","score","from","to","amountCents","currency","reference","reason","createdAt"}`
//!   - 202 the same with `"status":"pending"`: debited, not yet credited; will be finished without the caller
//!   - 422 problem `{…,"paymentId","paymentStatus":"declined"|"refunded","reason","engine"}`; the reason is `fraud`,
//!     `insufficient-funds`, `account-unknown`, `currency-mismatch` …
//!   - 503 problem with `"paymentStatus":"failed"` (nothing was charged; the same key tries again) or `"pending"`
//!     (may have been charged; will be finished without the caller)
//!   - 400 problem with `errors:[{field,found,allowed}]`, 409 when the key belongs to another payment.
//!
//!   The same key answers with the same payment, with header `idempotent-replayed: true`.
//! - `GET /v1/payments/{id}`; `GET /v1/payments?account=ID[&limit=N]` newest first.
//! - `GET /v1/stats` `{"pending","completed","declined","failed","refunded","engines":{NAME:N},
//!   "outbox":{"notification":{"waiting","delivered"},"reporting":{…}}}`.
//! - `GET /healthz`.
//!
//! Events go to `POST {NOTIFICATION_URL}/v1/events` and `POST {REPORTING_URL}/v1/events` at least once.

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
