//! Interim answers: forwarded to HTTP/2 callers, dropped for HTTP/1.1 callers, an error for nobody.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::{net::TcpListener, net::TcpStream, task::JoinHandle, time::timeout};
use usher_tests::raw::{Act, RawOrigin, say};

use crate::streaming::pair;

const PATIENCE: Duration = Duration::from_secs(5);

/// 100 and 103 before the answer, in HTTP/1.1.
async fn hinting_http1() -> Result<RawOrigin> {
    RawOrigin::start(|all, _| Act {
        write: if all.ends_with(b"\r\n\r\n") {
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nx-usher-reason: forged\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()
        } else {
            Vec::new()
        },
        close: false,
    })
    .await
}

/// The same, in HTTP/2; `hints` times.
async fn hinting_http2(hints: usize) -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await?;
                while let Some(accepted) = connection.accept().await {
                    let (_, mut respond) = accepted?;
                    for status in std::iter::once(100).chain(std::iter::repeat_n(103, hints)) {
                        let interim = Response::builder()
                            .status(status)
                            .header("link", "</a.css>");
                        respond.send_informational(interim.body(())?)?;
                    }
                    let mut send = respond.send_response(Response::new(()), false)?;
                    send.send_data(Bytes::from_static(b"ok"), true)?;
                }
                anyhow::Ok(())
            });
        }
    });
    Ok((port, task))
}

/// Interim statuses (with `link`), the status, and the body.
async fn get_http2(address: &str) -> Result<(Vec<u16>, u16, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut send, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let request = Request::get("http://api/").body(())?;
    let (mut answer, _) = send.send_request(request, true)?;
    let mut interim = Vec::new();
    let whole = async {
        while let Some(told) = std::future::poll_fn(|cx| answer.poll_informational(cx)).await {
            let told = told?;
            anyhow::ensure!(told.headers()["link"] == "</a.css>", "{told:?}");
            anyhow::ensure!(!told.headers().contains_key("x-usher-reason"), "{told:?}");
            interim.push(told.status().as_u16());
        }
        let answer = answer.await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let data = body.data().await.context("a body")??;
        Ok((status, data))
    };
    let (status, data) = timeout(PATIENCE, whole).await??;
    Ok((interim, status, data))
}

#[tokio::test]
async fn hints_reach_an_http2_caller_whatever_the_application_speaks() -> Result<()> {
    let old = hinting_http1().await?;
    let (new, _task) = hinting_http2(1).await?;
    for (port, protocol) in [(old.port(), "http"), (new, "kubernetes.io/h2c")] {
        let (_mesh, _api, web) = pair(port, protocol).await?;
        let (interim, status, body) = get_http2(&web.outbound).await?;
        assert_eq!((interim, status), (vec![103], 200), "{protocol}");
        assert_eq!(body, "ok");
        let plain = say(
            &web.outbound,
            &[b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"],
            Duration::from_millis(500),
        )
        .await?;
        assert_eq!(plain.statuses(), [200], "{protocol}: {plain:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_flood_of_hints_is_cut_off_and_the_answer_comes() -> Result<()> {
    let (port, _task) = hinting_http2(100).await?;
    let (_mesh, _api, web) = pair(port, "kubernetes.io/h2c").await?;
    let (interim, status, _) = get_http2(&web.outbound).await?;
    assert_eq!((interim.len(), status), (8, 200));
    Ok(())
}

#[tokio::test]
async fn an_http2_caller_is_told_to_go_on_only_if_there_is_somebody_to_hear_it() -> Result<()> {
    let origin = RawOrigin::start(|all, _| Act {
        write: if all.ends_with(b"0\r\n\r\n") || all.ends_with(b"body") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()
        } else {
            Vec::new()
        },
        close: false,
    })
    .await?;
    let (_mesh, _api, web) = pair(origin.port(), "http").await?;
    for (host, expected) in [("api", (Some(100), 200)), ("nobody.nowhere", (None, 503))] {
        let stream = TcpStream::connect(&web.outbound).await?;
        let (mut send, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        let request = Request::post(format!("http://{host}/"));
        let request = request.header("expect", "100-continue").body(())?;
        let (mut answer, mut body) = send.send_request(request, false)?;
        let told = timeout(
            PATIENCE,
            std::future::poll_fn(|cx| answer.poll_informational(cx)),
        )
        .await?;
        let told = told.transpose()?.map(|told| told.status());
        if told == Some(StatusCode::CONTINUE) {
            body.send_data(Bytes::from_static(b"body"), true)?;
        }
        let status = timeout(PATIENCE, answer).await??.status().as_u16();
        assert_eq!((told.map(|told| told.as_u16()), status), expected);
    }
    Ok(())
}
