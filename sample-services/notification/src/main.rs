//! The `notification` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_notification::run().await
}
