//! The `fraud-detection` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_fraud_detection::run().await
}
