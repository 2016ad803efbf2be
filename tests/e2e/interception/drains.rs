//! A sidecar that is told to end, with intercepted conversations under way: they are waited for, within the grace,
//! and what outlives it is visibly broken.

use std::{cell::Cell, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use usher_tests::{Host, eventually};

use super::{
    pair::{Pair, Sidecar, get},
    tunnels::{Called, carries, conversation, conversations},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Half of a grace of 60 s may pass until every caller is known to have heard.
const LESS_THAN_GRACE: Duration = Duration::from_secs(45);

/// Whose sidecar ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Calling,
    Called,
}

async fn is_draining(host: &Host) {
    eventually("the sidecar is draining", async || {
        match get(host, "127.0.0.1:15020", "x", "/ready").await {
            Ok(answer) => answer.contains("503").then_some(()),
            // It has ended already: what is asserted afterwards shows it.
            Err(_) => Some(()),
        }
    })
    .await;
}

fn sidecar<A>(pair: &mut Pair<A>, end: End) -> (&mut Sidecar, &Host) {
    match end {
        End::Calling => (&mut pair.web_sidecar, &pair.web),
        End::Called => (&mut pair.api_sidecar, &pair.api),
    }
}

async fn begins_to_end<A>(pair: &mut Pair<A>, end: End) {
    let (sidecar, host) = sidecar(pair, end);
    sidecar.process.signal(Signal::SIGTERM);
    is_draining(host).await;
}

async fn has_ended<A>(pair: &mut Pair<A>, end: End, limit: Duration) -> Option<i32> {
    let (sidecar, _) = sidecar(pair, end);
    sidecar.process.end(limit).await.code()
}

#[tokio::test]
async fn an_intercepted_conversation_is_waited_for() -> Result<()> {
    for (protocol, http) in [("tcp", false), ("http", true)] {
        for end in [End::Calling, End::Called] {
            let grace = ["--drain-grace", "60s"];
            let begin = |host: &Host| conversations(host, http);
            let Some(mut pair) = Pair::around((protocol, &grace), &[], begin).await? else {
                return Ok(());
            };
            outlives_the_signal(&mut pair, http, end).await?;
        }
    }
    Ok(())
}

async fn outlives_the_signal(pair: &mut Pair<Called>, http: bool, end: End) -> Result<()> {
    let address = pair.address()?;
    let (mut calling, mut called) = conversation(pair, (http, &address)).await?;
    begins_to_end(pair, end).await;
    for _ in 0..3 {
        carries(&mut calling, &mut called, 100_000).await?;
        carries(&mut called, &mut calling, 100_000).await?;
    }
    assert!(sidecar(pair, end).0.process.ended().is_none(), "it waits");
    calling.shutdown().await?;
    called.shutdown().await?;
    for stream in [&mut calling, &mut called] {
        assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await??, 0);
    }
    drop((calling, called));
    // Much earlier than the grace.
    assert_eq!(
        has_ended(pair, end, LESS_THAN_GRACE).await,
        Some(0),
        "{end:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_conversation_that_outlives_the_grace_is_reset() -> Result<()> {
    for (protocol, http) in [("tcp", false), ("http", true)] {
        for end in [End::Calling, End::Called] {
            let grace = ["--drain-grace", "1s"];
            let begin = |host: &Host| conversations(host, http);
            let Some(mut pair) = Pair::around((protocol, &grace), &[], begin).await? else {
                return Ok(());
            };
            let address = pair.address()?;
            let (mut calling, mut called) = conversation(&mut pair, (http, &address)).await?;
            carries(&mut called, &mut calling, 10).await?;
            sidecar(&mut pair, end).0.process.signal(Signal::SIGTERM);
            assert_eq!(has_ended(&mut pair, end, LESS_THAN_GRACE).await, Some(0));
            are_reset(&mut calling, &mut called, &format!("{protocol}, {end:?}")).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_conversation_whose_sidecar_is_killed_is_reset() -> Result<()> {
    for (protocol, http) in [("tcp", false), ("http", true)] {
        for end in [End::Calling, End::Called] {
            let begin = |host: &Host| conversations(host, http);
            let Some(mut pair) = Pair::around((protocol, &[]), &[], begin).await? else {
                return Ok(());
            };
            let address = pair.address()?;
            let (mut calling, mut called) = conversation(&mut pair, (http, &address)).await?;
            carries(&mut called, &mut calling, 10).await?;
            sidecar(&mut pair, end).0.process.signal(Signal::SIGKILL);
            are_reset(&mut calling, &mut called, &format!("{protocol}, {end:?}")).await?;
        }
    }
    Ok(())
}

async fn are_reset(calling: &mut TcpStream, called: &mut TcpStream, how: &str) -> Result<()> {
    for (which, stream) in [("calling", calling), ("called", called)] {
        let read = timeout(PATIENCE, stream.read(&mut [0])).await?;
        assert!(
            read.is_err(),
            "{how}: to the {which} one it looks like a clean end"
        );
    }
    Ok(())
}

/// `None` ends the answer.
type Piece = Option<&'static str>;
type Pieces = mpsc::UnboundedSender<Piece>;

/// Streams the answer to each request piece by piece, as it is told.
fn streams(host: &Host) -> Result<Pieces> {
    let listener = TcpListener::from_std(host.listen("0.0.0.0:8080")?)?;
    let (pieces, mut told) = mpsc::unbounded_channel::<Piece>();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4_096];
            // Whoever only looks whether we are there says nothing.
            if stream.read(&mut head).await? == 0 {
                continue;
            }
            let begin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(begin.as_bytes()).await?;
            while let Some(Some(piece)) = told.recv().await {
                let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                stream.write_all(chunk.as_bytes()).await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
        anyhow::Ok(())
    });
    Ok(pieces)
}

async fn reads(stream: &mut TcpStream, expected: &str) -> Result<()> {
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(expected) {
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await??;
        let heard = String::from_utf8_lossy(&heard);
        assert!(read > 0, "ended before {expected:?}: {heard}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_under_way_is_finished() -> Result<()> {
    for end in [End::Calling, End::Called] {
        let grace = ["--drain-grace", "60s"];
        let Some(mut pair) = Pair::around(("http", &grace), &[], streams).await? else {
            return Ok(());
        };
        let mut caller = pair.dial(&pair.address()?)?;
        let ask = "GET /events HTTP/1.1\r\nHost: api\r\n\r\n";
        caller.write_all(ask.as_bytes()).await?;
        pair.application.send(Some("first"))?;
        reads(&mut caller, "first").await?;
        begins_to_end(&mut pair, end).await;
        let waits = Cell::new(true);
        for piece in ["second", "third"] {
            pair.application.send(Some(piece))?;
            reads(&mut caller, piece).await?;
            waits.set(waits.get() && sidecar(&mut pair, end).0.process.ended().is_none());
        }
        assert!(waits.get(), "{end:?}");
        pair.application.send(None)?;
        reads(&mut caller, "0\r\n\r\n").await?;
        if end == End::Calling {
            let ended = timeout(2 * PATIENCE, caller.read(&mut [0])).await??;
            assert_eq!(ended, 0, "and nothing more comes from a sidecar that ends");
        }
        assert_eq!(
            has_ended(&mut pair, end, LESS_THAN_GRACE).await,
            Some(0),
            "{end:?}"
        );
    }
    Ok(())
}
