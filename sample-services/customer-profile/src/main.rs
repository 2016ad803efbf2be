//! The `customer-profile` service as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bank_customer_profile::run().await
}
