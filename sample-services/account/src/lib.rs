//! Accounts and their ledger, over gRPC (`bank.account.v1.Account`, `grpc.health.v1.Health`).
//!
//! Every change is an entry; a balance is the sum of its entries. Operations are idempotent by
//! `operation_id`, refusals included. Several processes may serve one database file at once.
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`).

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
