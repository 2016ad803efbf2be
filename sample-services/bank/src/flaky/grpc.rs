//! `bank flaky-grpc`: speaks the fraud protocol; `payment_id` is the work's id, metadata `x-ending` its end.

use anyhow::Context as _;
use bank_chassis::proto::fraud::{
    AssessRequest, AssessResponse,
    fraud_server::{Fraud, FraudServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};

use super::{Ending, Executions, LATE, listen};
use crate::programs::wait_for_the_end;

/// Serves until SIGTERM.
///
/// # Errors
/// When the environment is incomplete or the port can't be bound.
pub(crate) async fn run() -> anyhow::Result<()> {
    let executions = Executions::from_environment()?;
    let incoming = TcpListenerStream::new(listen().await?);
    let ended = async { wait_for_the_end().await.unwrap_or_default() };
    let server = Server::builder().add_service(FraudServer::new(Flaky(executions)));
    Ok(server.serve_with_incoming_shutdown(incoming, ended).await?)
}

struct Flaky(Executions);

#[tonic::async_trait]
impl Fraud for Flaky {
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let word = request
            .metadata()
            .get("x-ending")
            .and_then(|word| word.to_str().ok());
        let ending = word
            .and_then(Ending::parse)
            .context("x-ending is missing or unknown");
        let ending = ending.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let before = self.0.execute(&request.get_ref().payment_id);
        let before = before.map_err(|error| Status::data_loss(format!("{error:#}")))?;
        match ending.this_time(before) {
            Ending::Failure(code) | Ending::FailureOnce(code) => {
                let code = if code == "internal" {
                    Code::Internal
                } else {
                    Code::Unavailable
                };
                return Err(Status::new(code, "done, and failed"));
            }
            // A gRPC server can't hang up on one call alone; what comes nearest is to say nothing.
            Ending::Late | Ending::Drop | Ending::DropOnce => tokio::time::sleep(LATE).await,
            Ending::Well => {}
        }
        Ok(Response::new(AssessResponse {
            engine: "flaky-grpc".to_owned(),
            ..Default::default()
        }))
    }
}
