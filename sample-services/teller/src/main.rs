//! The `teller` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_teller::run().await
}
