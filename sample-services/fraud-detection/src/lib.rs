//! Judges payments by what an account usually does, over gRPC (`bank.fraud.v1.Fraud`, `grpc.health.v1.Health`).
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`) and `SCORING_DELAY`:
//! how long the model takes per payment (`2ms`, `1.5s`; default `2ms`, at most `1h`).

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("the service's body lands next")
}
