//! Long conversations of applications that know nothing of the mesh: WebSocket and opaque streams between two
//! intercepted machines. Half-closes stay halves, and what breaks at one end breaks at the other.

use std::{io, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use usher_tests::{Host, eventually};

use super::pair::Pair;

const PATIENCE: Duration = Duration::from_secs(5);

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The called end of each conversation, once it has begun.
pub(super) type Called = mpsc::UnboundedReceiver<TcpStream>;

/// Takes conversations, after the handshake if they are `http`'s.
pub(super) fn conversations(host: &Host, http: bool) -> Result<Called> {
    let listener = TcpListener::from_std(host.listen("0.0.0.0:8080")?)?;
    let (begun, called) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let begun = begun.clone();
            tokio::spawn(async move {
                // Whoever only looks whether we are there says nothing.
                let mut first = [0];
                if stream.peek(&mut first).await? == 0 {
                    return anyhow::Ok(());
                }
                if http {
                    read_head(&mut stream).await?;
                    stream.write_all(SWITCH.as_bytes()).await?;
                }
                Ok(begun.send(stream)?)
            });
        }
    });
    Ok(called)
}

/// Up to and with its empty line, byte by byte: what follows is not HTTP's.
async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await??);
    }
    Ok(String::from_utf8(head)?)
}

/// Both ends of a conversation that `web`'s application began, the calling one first.
pub(super) async fn conversation(
    pair: &mut Pair<Called>,
    (http, address): (bool, &str),
) -> Result<(TcpStream, TcpStream)> {
    let mut calling = pair.dial(address)?;
    if http {
        calling.write_all(ASK.as_bytes()).await?;
        let head = read_head(&mut calling).await?;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    } else {
        calling.write_all(b"!").await?;
    }
    let called = timeout(PATIENCE, pair.application.recv()).await?;
    let mut called = called.context("the application is there")?;
    if !http {
        assert_eq!(called.read_u8().await?, b'!');
    }
    Ok((calling, called))
}

/// So many bytes, and no more, arrive while they are sent.
pub(super) async fn carries(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) -> Result<()> {
    let sent: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    let mut heard = vec![0; bytes];
    let both = async { tokio::join!(from.write_all(&sent), to.read_exact(&mut heard)) };
    let (written, read) = timeout(4 * PATIENCE, both).await?;
    written?;
    read?;
    assert!(heard == sent, "other bytes than were sent");
    Ok(())
}

/// Everything until the end.
async fn rest(stream: &mut TcpStream) -> Result<(Vec<u8>, io::Result<usize>)> {
    let mut heard = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut heard)).await?;
    Ok((heard, end))
}

/// A pair, and whether its service speaks HTTP; one after the other in a network of their own.
async fn pair(protocol: &str) -> Result<Option<(Pair<Called>, bool)>> {
    let http = protocol == "http";
    let pair = Pair::around((protocol, &[]), &[], |host| conversations(host, http)).await?;
    Ok(pair.map(|pair| (pair, http)))
}

#[tokio::test]
async fn a_websocket_passes_between_intercepted_applications() -> Result<()> {
    let Some((pair, http)) = pair("http").await? else {
        return Ok(());
    };
    talk(pair, http).await
}

#[tokio::test]
async fn an_opaque_conversation_passes_between_intercepted_applications() -> Result<()> {
    let Some((pair, http)) = pair("tcp").await? else {
        return Ok(());
    };
    talk(pair, http).await
}

/// Much, both ways; then each end may be the first to have said all.
async fn talk(mut pair: Pair<Called>, http: bool) -> Result<()> {
    for address in [pair.address()?, format!("{}:8080", pair.api.ipv4)] {
        let (mut calling, mut called) = conversation(&mut pair, (http, &address)).await?;
        carries(&mut calling, &mut called, 3_000_000).await?;
        carries(&mut called, &mut calling, 3_000_000).await?;
        calling.shutdown().await?;
        let (heard, end) = rest(&mut called).await?;
        assert_eq!((heard.len(), end?), (0, 0), "its end, and nothing else");
        carries(&mut called, &mut calling, 100_000).await?;
        drop(called);
        assert_eq!(rest(&mut calling).await?.1?, 0);

        let (mut calling, mut called) = conversation(&mut pair, (http, &address)).await?;
        called.shutdown().await?;
        assert_eq!(rest(&mut calling).await?.1?, 0);
        carries(&mut calling, &mut called, 100_000).await?;
        drop(calling);
        assert_eq!(rest(&mut called).await?.1?, 0);
    }
    for sidecar in [&pair.web_sidecar, &pair.api_sidecar] {
        let log = eventually("all four are in the log", async || {
            let log = sidecar.access_log();
            (log.lines().count() >= 4).then_some(log)
        })
        .await;
        assert!(!log.contains("\"flags\""), "nothing was wrong: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_websocket_that_one_end_resets_is_reset_at_the_other() -> Result<()> {
    let Some((pair, http)) = pair("http").await? else {
        return Ok(());
    };
    break_off(pair, http).await
}

#[tokio::test]
async fn an_opaque_conversation_that_one_end_resets_is_reset_at_the_other() -> Result<()> {
    let Some((pair, http)) = pair("tcp").await? else {
        return Ok(());
    };
    break_off(pair, http).await
}

/// At either end, silent before or in the middle of much; and with the survivor's half closed already.
async fn break_off(mut pair: Pair<Called>, http: bool) -> Result<()> {
    let address = pair.address()?;
    for breaks_called in [true, false] {
        for (how, bytes) in [("silent", 0), ("talking", 200_000), ("half-closed", 10_000)] {
            let (calling, called) = conversation(&mut pair, (http, &address)).await?;
            let (mut breaking, mut staying) = match breaks_called {
                true => (called, calling),
                false => (calling, called),
            };
            if how == "half-closed" {
                staying.shutdown().await?;
                assert_eq!(rest(&mut breaking).await?.1?, 0);
            }
            carries(&mut breaking, &mut staying, bytes).await?;
            breaking.set_zero_linger()?;
            drop(breaking);
            let (heard, end) = rest(&mut staying).await?;
            let who = if breaks_called { "called" } else { "calling" };
            assert!(
                end.is_err(),
                "{how}, the {who} one's reset looks like its end after {} bytes",
                heard.len()
            );
        }
    }
    Ok(())
}
