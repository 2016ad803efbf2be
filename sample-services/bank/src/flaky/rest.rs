//! `bank flaky-rest`: any method on `/task/<ending>` with header `x-work-id`.

use anyhow::Context as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;

use super::{Ending, Executions, LATE, listen};
use crate::programs::wait_for_the_end;

/// Serves until SIGTERM.
///
/// # Errors
/// When the environment is incomplete or the port can't be bound.
pub(crate) async fn run() -> anyhow::Result<()> {
    let executions = Executions::from_environment()?;
    let listener = listen().await?;
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let executions = executions.clone();
            let service =
                hyper::service::service_fn(move |request| work(executions.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A dropped connection is what some requests ask for.
            tokio::spawn(async { connection.await.ok() });
        }
    };
    tokio::select! {
        ended = serve => ended,
        ended = wait_for_the_end() => ended,
    }
}

/// The request asked for no answer: hyper closes the connection on an error.
#[derive(Debug, thiserror::Error)]
#[error("the request asked for no answer")]
struct NoAnswer;

async fn work(
    executions: Executions,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, NoAnswer> {
    match ending(&executions, request).await {
        Ok(Ending::Drop | Ending::DropOnce) => Err(NoAnswer),
        Ok(Ending::Late) => {
            tokio::time::sleep(LATE).await;
            Ok(answer(StatusCode::OK, "late"))
        }
        Ok(Ending::Failure(code) | Ending::FailureOnce(code)) => {
            let status = code.parse().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(answer(status, "done, and failed"))
        }
        Ok(Ending::Well) => Ok(answer(StatusCode::OK, "done")),
        Err(error) => Ok(answer(StatusCode::BAD_REQUEST, &format!("{error:#}"))),
    }
}

/// Reads the whole request, does the work, and tells how to end.
async fn ending(executions: &Executions, request: Request<Incoming>) -> anyhow::Result<Ending> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let word = head
        .uri
        .path()
        .strip_prefix("/task/")
        .context("the path is /task/<ending>")?;
    let ending = Ending::parse(word).with_context(|| format!("no ending {word}"))?;
    let id = head
        .headers
        .get("x-work-id")
        .context("no x-work-id")?
        .to_str()?;
    Ok(ending.this_time(executions.execute(id)?))
}

fn answer(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
