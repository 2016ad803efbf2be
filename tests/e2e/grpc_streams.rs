//! The four kinds of gRPC methods, each message passing as soon as it is said.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::streaming::pair;

const PATIENCE: Duration = Duration::from_secs(5);

/// A gRPC message.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short");
    [&[0][..], &length.to_be_bytes(), text.as_bytes()]
        .concat()
        .into()
}

/// Takes messages off a stream, whatever frames they came in.
struct Messages {
    stream: RecvStream,
    seen: BytesMut,
}

impl Messages {
    fn of(stream: RecvStream) -> Self {
        Self {
            stream,
            seen: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(head) = self.seen.first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.seen.len() >= 5 + length {
                    let whole = self.seen.split_to(5 + length);
                    return Ok(Some(String::from_utf8(whole[5..].to_vec())?));
                }
            }
            let Some(bytes) = self.stream.data().await else {
                anyhow::ensure!(self.seen.is_empty(), "half a message");
                return Ok(None);
            };
            let bytes = bytes?;
            self.stream.flow_control().release_capacity(bytes.len())?;
            self.seen.extend_from_slice(&bytes);
        }
    }

    async fn trailers(&mut self) -> Result<HeaderMap> {
        self.stream.trailers().await?.context("trailers")
    }
}

/// Answers `/unary`, `/client`, `/server` and `/bidi` as such a method does, in trailers `grpc-status: 0` and a sum.
async fn grpc_server() -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await?;
                while let Some(accepted) = connection.accept().await {
                    let (request, mut respond) = accepted?;
                    let response =
                        Response::builder().header("content-type", "application/grpc+proto");
                    let send = respond.send_response(response.body(())?, false)?;
                    tokio::spawn(grpc_method(request, send));
                }
                anyhow::Ok(())
            });
        }
    });
    Ok((port, task))
}

async fn grpc_method(request: Request<RecvStream>, mut send: SendStream<Bytes>) -> Result<()> {
    let kind = request.uri().path().to_owned();
    let mut messages = Messages::of(request.into_body());
    let mut all = Vec::new();
    while let Some(text) = messages.next().await? {
        if kind == "/test.Kinds/bidi" {
            send.send_data(message(&format!("re: {text}")), false)?;
        }
        all.push(text);
    }
    match kind.as_str() {
        "/test.Kinds/unary" | "/test.Kinds/client" => {
            send.send_data(message(&all.join("+")), false)?
        }
        "/test.Kinds/server" => {
            for number in 0..3 {
                send.send_data(message(&format!("{number} of {}", all.join("+"))), false)?;
            }
        }
        _ => {}
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-sum", HeaderValue::from(all.len()));
    send.send_trailers(trailers)?;
    Ok(())
}

/// Calls a method through the sidecar, saying each word only after the answer to the one before, if there is to be one.
async fn grpc_call(address: &str, kind: &str, words: &[&str]) -> Result<(Vec<String>, HeaderMap)> {
    let stream = TcpStream::connect(address).await?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://api/test.Kinds/{kind}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut send) = client.send_request(request, false)?;
    // The head comes before any message has been sent: nobody may wait for one.
    let answer = timeout(PATIENCE, answer).await??;
    anyhow::ensure!(answer.status() == 200, "{answer:?}");
    let mut messages = Messages::of(answer.into_body());
    let mut heard = Vec::new();
    for word in words {
        send.send_data(message(word), false)?;
        if kind == "bidi" {
            heard.extend(timeout(PATIENCE, messages.next()).await??);
        }
    }
    send.send_data(Bytes::new(), true)?;
    while let Some(text) = timeout(PATIENCE, messages.next()).await?? {
        heard.push(text);
    }
    Ok((heard, messages.trailers().await?))
}

#[tokio::test]
async fn grpc_streams_in_all_four_ways() -> Result<()> {
    let (port, _task) = grpc_server().await?;
    let (_mesh, api, web) = pair(port, "grpc").await?;
    for (kind, words, expected) in [
        ("unary", &["a"][..], &["a"][..]),
        ("client", &["a", "b", "c"], &["a+b+c"]),
        ("server", &["a"], &["0 of a", "1 of a", "2 of a"]),
        ("bidi", &["a", "b"], &["re: a", "re: b"]),
    ] {
        let (heard, trailers) = grpc_call(&web.outbound, kind, words).await?;
        assert_eq!(heard, expected, "{kind}");
        assert_eq!(trailers["grpc-status"], "0", "{kind}");
        assert_eq!(trailers["x-sum"], words.len().to_string(), "{kind}");
    }
    let grpc = &["code=\"200\"", "service=\"default/api\""];
    assert!(web.metric("usher_requests_total", grpc).await? >= 4.0);
    assert!(
        api.access_log()
            .iter()
            .all(|line| line["protocol"] == "grpc")
    );
    Ok(())
}
