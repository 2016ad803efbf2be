//! gRPC as a sidecar speaks it with the control plane, directly on `h2`: thousands of these are in one process, which has
//! to share two cores with what it measures.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
};
use prost::Message;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use usher_config::wire::RETRY_PUSHBACK;

/// As in `proxy/src/control_plane.rs`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As in `proxy/src/tls/handshake.rs`, with the control plane.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// As in `proxy/src/control_plane.rs`: how often a silent control plane is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

const SNI: &str = "usher.usher-system";

/// A length and the flag for compression.
const PREFIX: usize = 5;

/// The control plane wants us later.
#[derive(Debug)]
pub(super) struct ComeAgain(pub(super) Duration);

impl std::fmt::Display for ComeAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("told to come again")
    }
}

impl std::error::Error for ComeAgain {}

/// Nothing that a control plane says to a sidecar is longer.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One connection. Clones are the same; it ends when all are gone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    send: SendRequest<Bytes>,
}

impl Connection {
    pub(super) async fn open(address: &str, tls: &Arc<ClientConfig>) -> Result<Self> {
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
            .await
            .context("no connection in time")??;
        tcp.set_nodelay(true)?;
        let connecting = TlsConnector::from(tls.clone()).connect(ServerName::try_from(SNI)?, tcp);
        let tls = timeout(HANDSHAKE_TIMEOUT, connecting)
            .await
            .context("no handshake in time")??;
        let (send, mut connection) = client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .handshake(tls)
            .await?;
        let ping = connection.ping_pong();
        tokio::spawn(async move {
            let alive = async {
                let Some(mut ping) = ping else {
                    return std::future::pending().await;
                };
                loop {
                    // Not all at the same moment, as real ones.
                    tokio::time::sleep(KEEPALIVE.mul_f64(0.5 + fastrand::f64())).await;
                    if ping.ping(h2::Ping::opaque()).await.is_err() {
                        return std::future::pending().await;
                    }
                }
            };
            tokio::select! {
                // Its error is that of every call on it.
                _ = connection => {}
                () = alive => {}
            }
        });
        Ok(Self { send })
    }

    /// A call with one answer.
    pub(super) async fn call<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A> {
        let mut stream = self.stream(path).await?;
        stream.requests.send_data(framed(request)?, true)?;
        let answer = stream.next().await?.context("no answer")?;
        ensure!(
            stream.next::<A>().await?.is_none(),
            "more than one answer from {path}"
        );
        Ok(answer)
    }

    /// A call that goes on in both directions.
    pub(super) async fn stream(&self, path: &str) -> Result<Stream> {
        let head = http::Request::builder()
            .method("POST")
            .uri(format!("http://{SNI}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (response, requests) = send.send_request(head, false)?;
        Ok(Stream {
            requests,
            opening: Some(response),
            responses: None,
            buffered: BytesMut::new(),
        })
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Stream {
    requests: SendStream<Bytes>,
    opening: Option<client::ResponseFuture>,
    responses: Option<RecvStream>,
    buffered: BytesMut,
}

impl Stream {
    pub(super) fn send(&mut self, request: &impl Message) -> Result<()> {
        Ok(self.requests.send_data(framed(request)?, false)?)
    }

    /// The next message; `None`: it has ended well.
    pub(super) async fn next<A: Message + Default>(&mut self) -> Result<Option<A>> {
        if let Some(opening) = self.opening.take() {
            let (head, body) = opening.await?.into_parts();
            ensure!(head.status.is_success(), "answered {}", head.status);
            status(&head.headers)?;
            self.responses = Some(body);
        }
        let body = self.responses.as_mut().context("the call has ended")?;
        loop {
            if let Some(message) = cut(&mut self.buffered)? {
                return Ok(Some(A::decode(message)?));
            }
            match body.data().await {
                Some(part) => {
                    let part = part?;
                    body.flow_control().release_capacity(part.len())?;
                    self.buffered.extend_from_slice(&part);
                }
                None => {
                    if let Some(trailers) = body.trailers().await? {
                        status(&trailers)?;
                    }
                    return Ok(None);
                }
            }
        }
    }
}

fn framed(message: &impl Message) -> Result<Bytes> {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length)?);
    message.encode(&mut frame)?;
    Ok(frame.freeze())
}

/// The first message, if all of it is there.
fn cut(buffered: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some((&[compressed, a, b, c, d], rest)) = buffered.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    ensure!(compressed == 0, "a compressed message");
    ensure!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
    if rest.len() < length {
        return Ok(None);
    }
    buffered.advance(PREFIX);
    let message = buffered.split_to(length).freeze();
    if buffered.is_empty() {
        // Else it keeps the room of the largest message that ever came.
        *buffered = BytesMut::new();
    }
    Ok(Some(message))
}

fn status(headers: &http::HeaderMap) -> Result<()> {
    let text = |name: &str| {
        let value = headers.get(name).map(http::HeaderValue::to_str);
        value.transpose().map(Option::unwrap_or_default)
    };
    match text("grpc-status")? {
        "" | "0" => Ok(()),
        _ if headers.contains_key(RETRY_PUSHBACK) => {
            let millis = text(RETRY_PUSHBACK)?.parse()?;
            Err(ComeAgain(Duration::from_millis(millis)).into())
        }
        code => bail!("gRPC status {code}: {}", text("grpc-message")?),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use usher_config::wire::v1::Revision;

    use super::{cut, framed};

    #[test]
    fn messages_are_cut_where_they_end() {
        let message = |number| Revision {
            number,
            digest: "d".repeat(64),
        };
        let all = [framed(&message(1)).unwrap(), framed(&message(2)).unwrap()].concat();
        let mut buffered = BytesMut::new();
        let mut seen = Vec::new();
        for byte in all {
            buffered.extend_from_slice(&[byte]);
            if let Some(whole) = cut(&mut buffered).unwrap() {
                let revision: Revision = prost::Message::decode(whole).unwrap();
                seen.push(revision.number);
            }
        }
        assert_eq!(seen, [1, 2]);
    }
}
