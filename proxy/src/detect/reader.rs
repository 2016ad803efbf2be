//! Looks at a connection's first bytes without taking them.
//!
//! They stay in the kernel: whoever serves the connection reads them again, and no wrapper has to give them
//! back. That costs one system call per connection, not per request.

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::parser::{Detected, ENOUGH, detect};

/// A beginning that decides nothing yet: the readiness of the socket does not change until more comes, so
/// there is nothing to wait on but time.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a caller speaks; [`Detected::NeedMore`] if it has not said within `limit`.
///
/// # Errors
/// The connection broke, or ended before its first byte (`UnexpectedEof`).
pub async fn look(stream: &TcpStream, limit: Duration) -> io::Result<Detected> {
    match timeout(limit, wait(stream)).await {
        Ok(detected) => detected,
        Err(_) => Ok(Detected::NeedMore),
    }
}

/// As [`look`], or what `called` resolves to if that is first: the caller waits for the other side to speak.
///
/// # Errors
/// As [`look`].
pub async fn look_unless<T>(
    stream: &TcpStream,
    limit: Duration,
    called: impl Future<Output = T>,
) -> io::Result<First<T>> {
    tokio::select! {
        biased;
        detected = look(stream, limit) => detected.map(First::Caller),
        spoke = called => Ok(First::Called(spoke)),
    }
}

/// Who spoke first.
#[derive(Debug, PartialEq, Eq)]
pub enum First<T> {
    /// The caller, or nobody in time.
    Caller(Detected),
    /// Whoever it calls.
    Called(T),
}

async fn wait(stream: &TcpStream) -> io::Result<Detected> {
    let mut first = [0; ENOUGH];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match detect(first.get(..seen).unwrap_or_default()) {
            Detected::NeedMore => sleep(LOOK_AGAIN).await,
            detected => return Ok(detected),
        }
    }
}
