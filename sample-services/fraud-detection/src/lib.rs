//! Judges payments by what an account usually does, over gRPC (`bank.fraud.v1.Fraud`, `grpc.health.v1.Health`).
//!
//! Environment: `HOST`, `PORT`, `DATABASE_URL`, `RUST_LOG` (see `bank_chassis`) and `SCORING_DELAY`:
//! how long the model takes per payment (`2ms`, `1.5s`; default `2ms`, at most `1h`).

mod model;
mod history;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;
use std::time::Duration;

use bank_chassis::database::{Database, Durability, migrations};
use bank_chassis::group_commit::Writer;
use bank_chassis::proto::fraud::fraud_server::{Fraud, FraudServer, SERVICE_NAME};
use bank_chassis::proto::fraud::{AssessRequest, AssessResponse};
use bank_chassis::rest::Listener;
use bank_chassis::settings::{DatabaseUrl, Environment};
use bank_chassis::shutdown::Shutdown;
use bank_chassis::{fraud, grpc, logging};
use sqlx::migrate::Migrator;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::info;

use crate::history::Assess;

static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| migrations(&[(1, "history", include_str!("../migrations/0001_history.sql"))]));

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong, the database cannot be opened or the port not be bound.
pub async fn run() -> anyhow::Result<()> {
    logging::start();
    let mut environment = Environment::of_process();
    let listen = environment.listen();
    let database = environment.required::<DatabaseUrl>("DATABASE_URL");
    let delay = environment.or("SCORING_DELAY", Duration::from_millis(2));
    let (Some(listen), Some(database), Some(delay)) = (listen, database, delay) else {
        return Err(environment.into_error().into());
    };
    let database = Database::open(&database, Durability::ProcessDeath, &MIGRATIONS).await?;
    history::forget_old(&database).await?;
    let (writer, written) = Writer::start(&database);
    let routes = Routes::new(FraudServer::new(DetectionService { writer, delay }));
    let shutdown = Shutdown::on_signal()?;
    grpc::serve(
        Listener::bind(listen).await?,
        SERVICE_NAME,
        routes,
        shutdown,
    )
    .await?;
    written.await?;
    database.close().await;
    Ok(())
}

struct DetectionService {
    writer: Writer<Assess>,
    delay: Duration,
}

#[tonic::async_trait]
impl Fraud for DetectionService {
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let payment = request.into_inner();
        fraud::validate(&payment)?;
        // Where a bigger model would compute.
        tokio::time::sleep(self.delay).await;
        let payment_id = payment.payment_id.clone();
        let answer = self.writer.submit(Assess { payment }).await?;
        info!(payment = payment_id, decision = ?answer.decision(), answer.score, "payment assessed");
        Ok(Response::new(answer))
    }
}
