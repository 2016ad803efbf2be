//! The `fraud-rules` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_fraud_rules::run().await
}
