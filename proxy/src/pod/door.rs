//! A running sidecar, asked from beside it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

/// Between two looks. A start takes a second or two.
const PAUSE: Duration = Duration::from_millis(100);
/// For one answer of `/ready`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Of an answer.
const ANSWER_MAX: u64 = 64 * 1024;

/// Waits for `/ready` to say 200; the error is what it said last.
pub(super) async fn ready(metrics: SocketAddr, limit: Duration) -> Result<(), String> {
    let address = reachable(metrics);
    let deadline = Instant::now() + limit;
    loop {
        let asked = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            exchange(stream, "GET /ready").await
        };
        let said = match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok((200, _))) => return Ok(()),
            Ok(Ok((status, said))) => format!("{status}: {}", said.trim()),
            Ok(Err(error)) => error,
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + PAUSE > deadline {
            return Err(format!(
                "the sidecar at {address} is not ready after {limit:?}: {said}"
            ));
        }
        sleep(PAUSE).await;
    }
}

/// Leaves the mesh; as long as that takes.
pub(super) async fn drain(socket: &Path, grace: Option<&str>) -> Result<(), String> {
    let failed = |error: String| format!("no sidecar answers on {}: {error}", socket.display());
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| failed(error.to_string()))?;
    let request = match grace {
        Some(grace) => format!("POST /drain?grace={grace}"),
        None => "POST /drain".to_owned(),
    };
    match exchange(stream, &request).await.map_err(failed)? {
        (200, _) => Ok(()),
        (status, said) => Err(format!("the sidecar says {status}: {}", said.trim())),
    }
}

/// Where a listener on all addresses is met from beside it.
fn reachable(metrics: SocketAddr) -> SocketAddr {
    let ip = match metrics.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, metrics.port())
}

/// Status and body.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Result<(u16, String), String> {
    let text = |error: std::io::Error| error.to_string();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: sidecar\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.map_err(text)?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_MAX)
        .read_to_end(&mut answer)
        .await
        .map_err(text)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status
        .map(|status| (status, body.to_owned()))
        .ok_or_else(|| "no HTTP answer".to_owned())
}
