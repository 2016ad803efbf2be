//! WebSocket and other upgrades pass through a pair of sidecars: the handshake as HTTP, what follows as bytes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use usher_tests::{Mesh, Sidecar, eventually, raw::say, yaml};

use crate::hostile::open_pair;

const PATIENCE: Duration = Duration::from_millis(1_500);

const ASK: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: api\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Answers each request with `answer`; after a 101 echoes, and says goodbye at the end.
struct Origin {
    port: u16,
    heads: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Origin {
    async fn start(answer: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let heads = std::sync::Arc::default();
        let task = tokio::spawn(Self::serve(listener, answer, std::sync::Arc::clone(&heads)));
        Ok(Self { port, heads, task })
    }

    async fn serve(
        listener: TcpListener,
        answer: &'static str,
        heads: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    ) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                while let Ok(Some(head)) = read_head(&mut stream).await {
                    if !head.contains("/ready") {
                        heads.lock().unwrap().push(head.clone());
                    }
                    let asked = head.to_ascii_lowercase().contains("\r\nupgrade: ");
                    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    let answer = if asked { answer } else { plain };
                    stream.write_all(answer.as_bytes()).await?;
                    if answer.starts_with("HTTP/1.1 101") {
                        let (mut read, mut write) = stream.split();
                        tokio::io::copy(&mut read, &mut write).await?;
                        write.write_all(b"bye").await?;
                        break;
                    }
                    if answer.is_empty() {
                        break;
                    }
                }
                anyhow::Ok(())
            });
        }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Up to and with its empty line, byte by byte: what follows is not HTTP's. `None`: the connection ended.
async fn read_head(stream: &mut TcpStream) -> Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8(head)?))
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A connection that has been upgraded.
async fn upgraded(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(ASK.as_bytes()).await?;
    let head = timeout(PATIENCE, read_head(&mut stream)).await??;
    let head = head.context("an answer")?.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3p",
    ] {
        assert!(head.contains(&format!("\r\n{field}")), "{field} in {head}");
    }
    assert!(!head.contains("x-usher"), "{head}");
    Ok(stream)
}

/// Both ways into `api`: in plaintext from anybody, and through the pair.
async fn both_ways(origin: &Origin) -> Result<(Mesh, Sidecar, Sidecar)> {
    open_pair(origin.port).await
}

#[tokio::test]
async fn a_websocket_passes_with_its_handshake_and_any_number_of_bytes() -> Result<()> {
    let origin = Origin::start(SWITCH).await?;
    let (_mesh, api, web) = both_ways(&origin).await?;
    for address in [&api.inbound, &web.outbound] {
        let stream = upgraded(address).await?;
        let head = origin
            .heads()
            .pop()
            .context("a request")?
            .to_ascii_lowercase();
        assert!(head.starts_with("get /chat?room=1 http/1.1\r\n"), "{head}");
        for field in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-key: dghl",
        ] {
            assert!(head.contains(&format!("\r\n{field}")), "{field} in {head}");
        }
        assert!(
            !head.contains("x-usher-upgrade") && !head.contains("chunked"),
            "{head}"
        );
        let sent: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let (mut read, mut write) = stream.into_split();
        let writing = async {
            write.write_all(&sent).await?;
            write.shutdown().await
        };
        let mut back = Vec::new();
        let reading = timeout(Duration::from_secs(20), read.read_to_end(&mut back));
        let (written, read) = tokio::join!(writing, reading);
        written?;
        read??;
        assert_eq!(
            back.len(),
            sent.len() + 3,
            "the answer goes on after our half is closed"
        );
        assert!(back.starts_with(&sent) && back.ends_with(b"bye"));
    }
    for sidecar in [&api, &web] {
        let line = eventually("the tunnel is in the log", async || {
            let all = sidecar.access_log();
            all.into_iter().rev().find(|line| line["status"] == 101)
        })
        .await;
        assert_eq!(
            (&line["request_bytes"], &line["response_bytes"]),
            (&3_000_000.into(), &3_000_003.into()),
            "{line}"
        );
        assert!(line["flags"].is_null(), "{line}");
        assert!(
            sidecar
                .metric("usher_requests_total", &["code=\"101\""])
                .await?
                >= 1.0
        );
        assert!(
            sidecar
                .metric("usher_tcp_bytes_total", &["way=\"up\""])
                .await?
                >= 3e6
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_message_passes_at_once() -> Result<()> {
    let origin = Origin::start(SWITCH).await?;
    let (_mesh, _api, web) = both_ways(&origin).await?;
    let mut stream = upgraded(&web.outbound).await?;
    for round in 0..20_u8 {
        stream.write_all(&[round; 7]).await?;
        let mut back = [0; 7];
        timeout(PATIENCE, stream.read_exact(&mut back)).await??;
        assert_eq!(back, [round; 7]);
    }
    Ok(())
}

#[tokio::test]
async fn the_application_may_close_its_half_first() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let origin = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let head = read_head(&mut stream).await?;
            if head.is_some_and(|head| head.contains("/chat")) {
                stream.write_all(SWITCH.as_bytes()).await?;
                stream.write_all(b"all I have to say").await?;
                stream.shutdown().await?;
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await?;
                return anyhow::Ok(heard);
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        }
    });
    let (_mesh, _api, web) = open_pair(port).await?;
    let mut stream = upgraded(&web.outbound).await?;
    let mut said = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut said)).await??;
    assert_eq!(said, "all I have to say");
    let more = vec![5; 1_000_000];
    stream.write_all(&more).await?;
    stream.shutdown().await?;
    let heard = timeout(PATIENCE, origin).await???;
    assert_eq!(heard.len(), more.len(), "the caller could go on after that");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer_and_the_connection_stays_http() -> Result<()> {
    for answer in [
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 3\r\nSec-WebSocket-Version: 12\r\n\r\nold",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let origin = Origin::start(answer).await?;
        let (_mesh, api, web) = both_ways(&origin).await?;
        for address in [&api.inbound, &web.outbound] {
            let plain = "GET /next HTTP/1.1\r\nHost: api\r\n\r\n";
            let heard = say(address, &[ASK.as_bytes(), plain.as_bytes()], PATIENCE).await?;
            let status = answer[9..12].parse::<u16>()?;
            assert_eq!(heard.statuses(), [status, 200], "{heard:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_upgrade_keeps_its_method_and_need_not_be_websocket() -> Result<()> {
    let origin =
        Origin::start("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            .await?;
    let (_mesh, _api, web) = both_ways(&origin).await?;
    let mut stream = TcpStream::connect(&web.outbound).await?;
    let attach = "POST /containers/1/attach HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: h2c, tcp\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(attach.as_bytes()).await?;
    let head = timeout(PATIENCE, read_head(&mut stream))
        .await??
        .context("an answer")?;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_ascii_lowercase().contains("upgrade: tcp"),
        "{head}"
    );
    let asked = origin.heads().concat().to_ascii_lowercase();
    assert!(asked.starts_with("post /containers/1/attach "), "{asked}");
    assert!(
        !asked.contains("h2c"),
        "no way around the rules for HTTP: {asked}"
    );
    Ok(())
}

#[tokio::test]
async fn an_agreement_on_what_nobody_offered_is_no_upgrade() -> Result<()> {
    let origin = Origin::start(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    )
    .await?;
    let (_mesh, api, web) = both_ways(&origin).await?;
    for address in [&api.inbound, &web.outbound] {
        let heard = say(address, &[ASK.as_bytes()], PATIENCE).await?;
        assert_eq!(heard.statuses(), [502], "{heard:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_upgrade_is_never_tried_twice_once_it_may_have_begun() -> Result<()> {
    for answer in [
        "",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    ] {
        let origin = Origin::start(answer).await?;
        let (_mesh, _api, web) = both_ways(&origin).await?;
        let heard = say(&web.outbound, &[ASK.as_bytes()], PATIENCE).await?;
        let expected = if answer.is_empty() { 502 } else { 503 };
        assert_eq!(heard.statuses(), [expected], "{heard:?}");
        assert_eq!(origin.heads().len(), 1, "{:?}", origin.heads());
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_tunnel_ends_after_its_idle_time_and_a_busy_one_does_not() -> Result<()> {
    let origin = Origin::start(SWITCH).await?;
    let idle = yaml::traffic_policy("api", "  timeouts: { idle: 600ms }\n");
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http"), idle]).await?;
    let api = mesh.sidecar("api").port(origin.port).start().await?;
    let web = mesh.sidecar("web").start().await?;
    let mut busy = upgraded(&web.outbound).await?;
    let mut silent = upgraded(&web.outbound).await?;
    let talking = tokio::spawn(async move {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            busy.write_all(b"ping").await?;
            busy.read_exact(&mut [0; 4]).await?;
        }
        anyhow::Ok(())
    });
    let mut nothing = Vec::new();
    let ended = timeout(Duration::from_secs(5), silent.read_to_end(&mut nothing)).await?;
    assert!(
        ended.is_err() && nothing.is_empty(),
        "reset, not finished: {ended:?}"
    );
    talking.await??;
    let line = eventually("the end is in the log", async || {
        // Whichever of the two noticed first.
        let all = [web.access_log(), api.access_log()].concat();
        all.into_iter()
            .find(|line| line["flags"].to_string().contains("SI"))
    })
    .await;
    assert_eq!(line["status"], 101, "{line}");
    Ok(())
}

#[tokio::test]
async fn a_tunnel_outlives_the_beginning_of_a_drain_and_ends_it() -> Result<()> {
    let origin = Origin::start(SWITCH).await?;
    let (_mesh, mut api, web) = both_ways(&origin).await?;
    let mut stream = upgraded(&web.outbound).await?;
    let stopped = std::cell::Cell::new(false);
    let stopping = async {
        let _ = api.process.stop().await;
        stopped.set(true);
    };
    let talking = async {
        // No new stream can come about there any more.
        let gone = async || {
            let answer = web.get("http://api/").await.ok()?;
            (answer.status == 503).then_some(())
        };
        eventually("the endpoint is gone", gone).await;
        stream.write_all(b"still here").await?;
        let mut back = [0; 10];
        timeout(PATIENCE, stream.read_exact(&mut back)).await??;
        assert!(!stopped.get(), "it waits for its streams");
        stream.shutdown().await?;
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await??;
        assert_eq!(rest, b"bye");
        anyhow::Ok(())
    };
    let both = async { tokio::join!(stopping, talking) };
    let ((), talked) = timeout(Duration::from_secs(25), both).await?;
    talked
}

#[tokio::test]
async fn connect_is_refused_with_what_may_be_asked_instead() -> Result<()> {
    let origin = Origin::start(SWITCH).await?;
    let (_mesh, api, web) = both_ways(&origin).await?;
    for address in [&api.inbound, &web.outbound] {
        let connect = "CONNECT api:8080 HTTP/1.1\r\nHost: api:8080\r\n\r\n";
        let heard = say(address, &[connect.as_bytes()], PATIENCE).await?;
        assert_eq!(
            (heard.statuses(), heard.closed),
            (vec![405], true),
            "{heard:?}"
        );
        assert!(
            heard
                .text
                .contains("x-usher-reason: DPE connect-not-allowed"),
            "{heard:?}"
        );
        assert!(heard.text.contains("\r\nallow: GET, "), "{heard:?}");
    }
    Ok(())
}
