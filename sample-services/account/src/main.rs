//! The `account` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_account::run().await
}
