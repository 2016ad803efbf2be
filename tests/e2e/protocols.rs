//! What HTTP clients and servers of every age may rely on, through a pair of sidecars.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use usher_tests::raw::{Act, RawOrigin, say};

use crate::hostile::open_pair;

const PATIENCE: Duration = Duration::from_millis(1_500);

/// Answers each whole head at the end of what came with `answer`; ends the connection after it if told so.
async fn origin(answer: &'static str, close: bool) -> Result<RawOrigin> {
    RawOrigin::start(move |all, _| {
        let whole = all.ends_with(b"\r\n\r\n");
        Act {
            write: if whole { answer.into() } else { Vec::new() },
            close: whole && close,
        }
    })
    .await
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn an_http_1_0_caller_keeps_its_connection_only_if_it_asks_to() -> Result<()> {
    let origin = origin(OK, false).await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    for address in [&api.inbound, &web.outbound] {
        let once = b"GET /a HTTP/1.0\r\nHost: api\r\n\r\n";
        let heard = say(address, &[once], PATIENCE).await?;
        assert!(
            heard.closed && heard.text.ends_with("\r\n\r\nok"),
            "{heard:?}"
        );
        let kept = b"GET /b HTTP/1.0\r\nHost: api\r\nConnection: keep-alive\r\n\r\n";
        let heard = say(address, &[kept, kept], PATIENCE).await?;
        assert_eq!(
            (heard.statuses(), heard.closed),
            (vec![200, 200], false),
            "{heard:?}"
        );
    }
    let all = origin.recorded().concat();
    assert!(
        !String::from_utf8_lossy(&all).contains("HTTP/1.0"),
        "applications see HTTP/1.1"
    );
    Ok(())
}

#[tokio::test]
async fn an_answer_without_a_length_ends_in_the_way_its_caller_understands() -> Result<()> {
    let origin = origin("HTTP/1.0 200 OK\r\n\r\nuntil the end", true).await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    for address in [&api.inbound, &web.outbound] {
        let old = say(address, &[b"GET / HTTP/1.0\r\nHost: api\r\n\r\n"], PATIENCE).await?;
        assert!(
            old.closed && old.text.ends_with("\r\n\r\nuntil the end"),
            "{old:?}"
        );
        let new = say(address, &[b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"], PATIENCE).await?;
        let chunked =
            new.text.contains("transfer-encoding: chunked") && new.text.ends_with("0\r\n\r\n");
        assert!(chunked && !new.closed, "{new:?}");
    }
    Ok(())
}

#[tokio::test]
async fn half_an_answer_ends_as_a_whole_one_for_no_caller() -> Result<()> {
    let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let origin = RawOrigin::start(move |all, before| {
        let is_asked = all[before..].starts_with(b"GET /half ");
        Act {
            write: if is_asked { half.into() } else { OK.into() },
            close: is_asked,
        }
    })
    .await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    for address in [&api.inbound, &web.outbound] {
        for version in ["1.0", "1.1"] {
            let mut stream = TcpStream::connect(address).await?;
            let ask = format!("GET /half HTTP/{version}\r\nHost: api\r\n\r\n");
            stream.write_all(ask.as_bytes()).await?;
            let mut heard = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut heard)).await?;
            let heard = String::from_utf8_lossy(&heard);
            assert!(!heard.ends_with("0\r\n\r\n"), "{heard}");
            let chunked = heard.contains("transfer-encoding: chunked");
            // Nothing at all is no answer either.
            let none = heard.is_empty();
            assert!(none || chunked || ended.is_err(), "{version}: {heard}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_without_a_length_is_not_whole_because_its_sidecar_was_killed() -> Result<()> {
    let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let origin = RawOrigin::start(move |all, before| {
        let is_asked = all[before..].starts_with(b"GET /half ");
        Act {
            write: if is_asked { begun.into() } else { OK.into() },
            close: false,
        }
    })
    .await?;
    let (_mesh, _api, web) = open_pair(origin.port()).await?;
    let mut stream = TcpStream::connect(&web.outbound).await?;
    stream
        .write_all(b"GET /half HTTP/1.0\r\nHost: api\r\n\r\n")
        .await?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"half") {
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await??;
        assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
    }
    let sidecar = nix::unistd::Pid::from_raw(i32::try_from(web.proxy_pid()?)?);
    nix::sys::signal::kill(sidecar, nix::sys::signal::Signal::SIGKILL)?;
    let ended = timeout(PATIENCE, stream.read_buf(&mut heard)).await?;
    assert!(ended.is_err(), "its end says that this was all");
    Ok(())
}

#[tokio::test]
async fn trailers_pass_both_ways() -> Result<()> {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    let origin = origin(answer, false).await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    for address in [&api.inbound, &web.outbound] {
        origin.forget();
        let ask = "POST /a HTTP/1.1\r\nHost: api\r\nTE: trailers\r\nTrailer: X-Up\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 5\r\nContent-Length: 9\r\n\r\n";
        let heard = say(address, &[ask.as_bytes()], PATIENCE).await?;
        assert!(
            heard
                .text
                .to_ascii_lowercase()
                .contains("\r\n0\r\nx-sum: 7\r\n\r\n"),
            "{heard:?}"
        );
        let up = String::from_utf8_lossy(&origin.recorded().concat()).to_ascii_lowercase();
        assert!(up.contains("\r\n0\r\nx-up: 5\r\n\r\n"), "{up}");
        assert!(
            !up.contains("content-length"),
            "a trailer frames nothing: {up}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn who_expects_to_be_told_to_go_on_is_told_and_only_then_sends() -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let origin = RawOrigin::start(|all, _| Act {
        write: if all.ends_with(b"body") || all.starts_with(b"GET /ready") {
            OK.into()
        } else {
            Vec::new()
        },
        close: false,
    })
    .await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    for address in [&api.inbound, &web.outbound] {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await?;
        let mut buffer = vec![0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await??;
        assert_eq!(&buffer[..read], b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"body").await?;
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await??;
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    }
    assert!(!String::from_utf8_lossy(&origin.recorded().concat()).contains("xpect"));
    Ok(())
}
