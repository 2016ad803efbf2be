//! The `transaction` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_transaction::run().await
}
