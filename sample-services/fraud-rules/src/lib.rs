//! Judges payments by fixed limits, over gRPC (`bank.fraud.v1.Fraud`, `grpc.health.v1.Health`): no history, no database.
//!
//! What payments fall back to while fraud-detection is away: it can't be slow and can't be down for
//! a reason of its own.
//!
//! Environment: `HOST`, `PORT`, `RUST_LOG` (see `bank_chassis`), `RULES_REVIEW_ABOVE_CENTS` (default 200000)
//! and `RULES_DECLINE_ABOVE_CENTS` (default 1000000).

mod limits;
#[cfg(test)]
mod tests;

use bank_chassis::proto::fraud::fraud_server::{Fraud, FraudServer, SERVICE_NAME};
use bank_chassis::proto::fraud::{AssessRequest, AssessResponse};
use bank_chassis::rest::Listener;
use bank_chassis::settings::{Cents, Environment};
use bank_chassis::shutdown::Shutdown;
use bank_chassis::{fraud, grpc, logging};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::info;

use crate::limits::Limits;

/// Runs the service until SIGTERM or SIGINT, then finishes what it has begun.
///
/// # Errors
/// When a variable is missing or wrong or the port cannot be bound.
pub async fn run() -> anyhow::Result<()> {
    logging::start();
    let mut environment = Environment::of_process();
    let listen = environment.listen();
    let review = environment.or("RULES_REVIEW_ABOVE_CENTS", Cents(200_000));
    let decline = environment.or("RULES_DECLINE_ABOVE_CENTS", Cents(1_000_000));
    let (Some(listen), Some(review), Some(decline)) = (listen, review, decline) else {
        return Err(environment.into_error().into());
    };
    let limits = Limits {
        review_above_cents: review.0,
        decline_above_cents: decline.0,
    };
    let routes = Routes::new(FraudServer::new(RulesService { limits }));
    let shutdown = Shutdown::on_signal()?;
    grpc::serve(
        Listener::bind(listen).await?,
        SERVICE_NAME,
        routes,
        shutdown,
    )
    .await
}

struct RulesService {
    limits: Limits,
}

#[tonic::async_trait]
impl Fraud for RulesService {
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let payment = request.into_inner();
        fraud::validate(&payment)?;
        let answer = self.limits.assess(&payment);
        info!(payment = payment.payment_id, decision = ?answer.decision(), "payment assessed");
        Ok(Response::new(answer))
    }
}
