//! Judges payments by fixed limits, over gRPC (`bank.fraud.v1.Fraud`, `grpc.health.v1.Health`): no history, no database.
//!
//! Environment: `HOST`, `PORT`, `RUST_LOG` (see `bank_chassis`), `RULES_REVIEW_ABOVE_CENTS` (default 200000)
//! and `RULES_DECLINE_ABOVE_CENTS` (default 1000000).

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
