//! The control plane on this machine, asked through its operator socket.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Failure,
    client::{ClientError, Server},
    exit,
    locate::DataDirectory,
};

/// How long an answer may take: the store's disk, and a large mesh that is compiled.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Reads a document.
pub(super) async fn read<T: DeserializeOwned>(
    data: &DataDirectory,
    path: &str,
) -> Result<T, Failure> {
    let answer = exchange(data, (Method::GET, path), Bytes::new(), LIMIT).await?;
    answered(answer.map_err(refused)?)
}

/// Gives a command, and reads what came of it.
pub(super) async fn command<T: DeserializeOwned>(
    data: &DataDirectory,
    path: &str,
    wanted: &impl Serialize,
) -> Result<T, Failure> {
    let body = written(wanted)?;
    let answer = exchange(data, (Method::POST, path), body, LIMIT).await?;
    answered(answer.map_err(refused)?)
}

/// The same, where a refusal has something to say, too.
pub(super) async fn exchange(
    data: &DataDirectory,
    (method, path): (Method, &str),
    body: Bytes,
    limit: Duration,
) -> Result<Result<Bytes, (StatusCode, String)>, Failure> {
    let socket = data.operator_socket();
    let server = Server::Unix(socket.clone());
    match server.ask(method, path, body, limit).await {
        Ok(body) => Ok(Ok(body)),
        Err(ClientError::Refused { status, message }) => Ok(Err((status, message))),
        Err(error) => {
            let cause = Failure::of(exit::UNAVAILABLE, &error).message;
            let socket = socket.display();
            let message =
                format!("no control plane answers on its operator socket {socket}: {cause}");
            Err(Failure::new(exit::UNAVAILABLE, message)
                .advise("start one on this machine, as this user: usher serve --config DIR")
                .advise("one with another data directory: --data DIR, or USHER_DATA"))
        }
    }
}

/// As it travels.
pub(super) fn written(wanted: &impl Serialize) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(wanted).map_err(|error| Failure::of(exit::FAILED, &error))?;
    Ok(body.into())
}

/// What came back.
pub(super) fn answered<T: DeserializeOwned>(body: Bytes) -> Result<T, Failure> {
    serde_json::from_slice(&body).map_err(|error| Failure::of(exit::FAILED, &error))
}

/// It answered, and said no; the words are its own.
pub(super) fn refused((status, message): (StatusCode, String)) -> Failure {
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => exit::UNAVAILABLE,
        _ => exit::FAILED,
    };
    Failure::new(code, message)
}

/// Who gives a command, for the record: a name that nobody checks, as only the owner of the socket can be heard there.
pub(super) fn author() -> String {
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = named("SUDO_USER").or_else(|| named("USER"));
    user.unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
}
