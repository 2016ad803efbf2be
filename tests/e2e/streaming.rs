//! Bodies pass as they come, both ways, whatever their length and however their end is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use usher_tests::{Client, Mesh, Sidecar, raw::say, yaml};

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn pair(port: u16, protocol: &str) -> Result<(Mesh, Sidecar, Sidecar)> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, protocol)]).await?;
    let api = mesh.sidecar("api").port(port).start().await?;
    let web = mesh.sidecar("web").start().await?;
    Ok((mesh, api, web))
}

/// Answers each request head with what `answers` gives for its method and path.
async fn http1_server(answers: fn(&str) -> &'static str) -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while stream.read_buf(&mut bytes).await? > 0 {
                    while let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                        let head: Vec<u8> = bytes.drain(..end + 4).collect();
                        let answer = answers(&String::from_utf8_lossy(&head));
                        stream.write_all(answer.as_bytes()).await?;
                        if answer.contains("Connection: close") {
                            return Ok(());
                        }
                    }
                }
                anyhow::Ok(())
            });
        }
    });
    Ok((port, task))
}

fn bodiless(head: &str) -> &'static str {
    match head.split_once(" HTTP").map_or("", |(line, _)| line) {
        "HEAD /long" | "GET /304" => {
            if head.starts_with("HEAD") {
                "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n"
            } else {
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n"
            }
        }
        "HEAD /chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HEAD /open" => "HTTP/1.1 200 OK\r\n\r\n",
        "GET /204" => "HTTP/1.1 204 No Content\r\n\r\n",
        "GET /205" => "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        "GET /empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "GET /close" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_what_they_say_about_one() -> Result<()> {
    let (port, _task) = http1_server(bodiless).await?;
    let (_mesh, _api, web) = pair(port, "http").await?;
    for (method, path, status, length) in [
        ("HEAD", "/long", 200, Some("5000")),
        ("HEAD", "/chunked", 200, None),
        ("HEAD", "/open", 200, None),
        // It may say how long the body would be (RFC 9110 §8.6); nobody has to.
        ("GET", "/304", 304, None),
        ("GET", "/204", 204, None),
        ("GET", "/205", 205, Some("0")),
        ("GET", "/empty", 200, Some("0")),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: api\r\n\r\n");
        let next = "GET /next HTTP/1.1\r\nHost: api\r\n\r\n";
        let both = [request.as_bytes(), next.as_bytes()];
        let heard = say(&web.outbound, &both, Duration::from_millis(500)).await?;
        assert_eq!(heard.statuses(), [status, 200], "{path}: {heard:?}");
        let head = heard
            .text
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let said = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(said, length, "{path}: {head}");
        assert!(heard.text.ends_with("\r\n\r\nok"), "{path}: {heard:?}");
        let answer = web
            .client()
            .http2()
            .send(
                method.parse()?,
                &format!("http://api{path}"),
                HeaderMap::new(),
                Bytes::new(),
            )
            .await?;
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, 0),
            "{path} over HTTP/2"
        );
        let said = answer.header("content-length");
        let may_say = length.unwrap_or(if status == 304 { "5000" } else { "" });
        assert!(said.is_empty() || said == may_say, "{path}: {said}");
    }
    let to_the_end = web.client().http2().get("http://api/close").await?;
    assert_eq!(to_the_end.text(), "to the end");
    Ok(())
}

/// Echoes the body, and the trailers with a prefix, in HTTP/2.
async fn http2_echo() -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await?;
                while let Some(accepted) = connection.accept().await {
                    let (request, mut respond) = accepted?;
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        let mut send = respond.send_response(Response::new(()), false)?;
                        while let Some(bytes) = body.data().await {
                            send.send_data(bytes?, false)?;
                        }
                        let mut trailers = HeaderMap::new();
                        for (name, value) in &body.trailers().await?.unwrap_or_default() {
                            trailers.insert(
                                http::HeaderName::try_from(format!("re-{name}"))?,
                                value.clone(),
                            );
                        }
                        send.send_trailers(trailers)?;
                        anyhow::Ok(())
                    });
                }
                anyhow::Ok(())
            });
        }
    });
    Ok((port, task))
}

#[tokio::test]
async fn trailers_pass_over_http2_both_ways_and_to_a_caller_of_either_age() -> Result<()> {
    let (port, _task) = http2_echo().await?;
    let (_mesh, _api, web) = pair(port, "kubernetes.io/h2c").await?;
    let stream = TcpStream::connect(&web.outbound).await?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let (answer, mut send) = client.send_request(Request::post("http://api/").body(())?, false)?;
    send.send_data(Bytes::from_static(b"hi"), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-up", HeaderValue::from_static("5"));
    trailers.insert("authorization", HeaderValue::from_static("forged"));
    send.send_trailers(trailers)?;
    let mut body = timeout(PATIENCE, answer).await??.into_body();
    assert_eq!(body.data().await.context("data")??, "hi");
    let back = body.trailers().await?.context("trailers")?;
    assert_eq!(back["re-x-up"], "5");
    assert!(
        !back.contains_key("re-authorization"),
        "only a head may say that: {back:?}"
    );
    let old = "POST / HTTP/1.1\r\nHost: api\r\nTE: trailers\r\nTrailer: X-Up\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 5\r\n\r\n";
    let heard = say(&web.outbound, &[old.as_bytes()], Duration::from_millis(500)).await?;
    assert!(heard.text.contains("\r\n2\r\nhi\r\n"), "{heard:?}");
    Ok(())
}

#[tokio::test]
async fn grpc_web_passes_as_the_http_that_it_is() -> Result<()> {
    fn answer(_: &str) -> &'static str {
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: 23\r\n\r\n\0\0\0\0\u{3}abc\u{0}\0\0\0\u{a}gs:0\r\n....\n"
    }
    let (port, _task) = http1_server(answer).await?;
    let (_mesh, _api, web) = pair(port, "http").await?;
    let mut headers = HeaderMap::new();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/grpc-web+proto"),
    );
    let post = |url: &'static str| {
        let client = web.client();
        let headers = headers.clone();
        async move {
            client
                .send(http::Method::POST, url, headers, Bytes::new())
                .await
        }
    };
    let passed = post("http://api/a.B/C").await?;
    assert_eq!((passed.status, passed.body.len()), (200, 23));
    assert!(passed.body.starts_with(b"\0\0\0\0\x03abc"));
    let refused = post("http://nobody.nowhere/a.B/C").await?;
    assert_eq!(refused.status, 503, "its clients read statuses");
    Ok(())
}

/// Sends or takes without end, in HTTP/1.1 chunks; counts the bytes that it got rid of, or got.
async fn endless_server(moved: Arc<AtomicU64>) -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let moved = moved.clone();
            tokio::spawn(async move {
                let mut buffer = vec![b'x'; 64 * 1024];
                let read = stream.read(&mut buffer).await?;
                if buffer.starts_with(b"GET /endless") {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                        .await?;
                    let chunk = [&b"10000\r\n"[..], &[b'x'; 65_536], b"\r\n"].concat();
                    loop {
                        stream.write_all(&chunk).await?;
                        moved.fetch_add(65_536, Ordering::Relaxed);
                    }
                } else if buffer.starts_with(b"POST /endless") {
                    moved.fetch_add(read as u64, Ordering::Relaxed);
                    while moved.load(Ordering::Relaxed) < MANY {
                        let read = stream.read(&mut buffer).await?;
                        moved.fetch_add(read as u64, Ordering::Relaxed);
                    }
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await?;
                    // Closing now would reset the connection, and the answer with it.
                    while stream.read(&mut buffer).await? > 0 {}
                    return Ok(());
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await?;
                anyhow::Ok(())
            });
        }
    });
    Ok((port, task))
}

const MANY: u64 = 96 * 1024 * 1024;

/// The most memory a sidecar has ever held, in KiB.
fn peak(sidecar: &Sidecar) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.proxy_pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line
        .and_then(|line| line.trim().split(' ').next())
        .context("VmHWM")?
        .parse()?)
}

#[tokio::test]
async fn bodies_without_end_pass_in_bounded_memory() -> Result<()> {
    let moved = Arc::new(AtomicU64::new(0));
    let (port, _task) = endless_server(moved.clone()).await?;
    let (_mesh, api, web) = pair(port, "http").await?;
    Client::through(&web.outbound)
        .get("http://api/warm")
        .await?;
    let before = (peak(&api)?, peak(&web)?);

    let mut down = TcpStream::connect(&web.outbound).await?;
    down.write_all(b"GET /endless HTTP/1.1\r\nHost: api\r\n\r\n")
        .await?;
    down.peek(&mut [0]).await?;
    // Nobody reads: sooner or later nobody writes either.
    all_stand_still(&moved).await;
    let last = moved.load(Ordering::Relaxed);
    assert!(
        last < MANY / 2,
        "{last} bytes are on the way to a caller that reads none"
    );
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    while read < MANY {
        read += timeout(PATIENCE, down.read(&mut buffer)).await?? as u64;
    }
    drop(down);

    moved.store(0, Ordering::Relaxed);
    let mut up = TcpStream::connect(&web.outbound).await?;
    up.write_all(b"POST /endless HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let (mut answer, mut upload) = up.into_split();
    let sending = tokio::spawn(async move {
        let chunk = [&b"10000\r\n"[..], &[b'x'; 65_536], b"\r\n"].concat();
        while upload.write_all(&chunk).await.is_ok() {}
    });
    let read = timeout(Duration::from_secs(60), answer.read(&mut buffer)).await??;
    assert!(
        buffer[..read].starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&buffer[..read])
    );
    drop(answer);
    sending.abort();

    for (sidecar, before) in [(&api, before.0), (&web, before.1)] {
        let grown = peak(sidecar)?.saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more for {} MiB", MANY >> 20);
    }
    Ok(())
}

/// Waits until nothing moves any more.
async fn all_stand_still(moved: &AtomicU64) {
    let mut last = u64::MAX;
    while last != moved.load(Ordering::Relaxed) {
        last = moved.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn callers_that_do_not_read_hold_up_nobody_else() -> Result<()> {
    let moved = Arc::new(AtomicU64::new(0));
    let (port, _task) = endless_server(moved.clone()).await?;
    let (_mesh, _api, web) = pair(port, "http").await?;
    let mut standing = Vec::new();
    // Several times what once filled a connection between sidecars.
    for _ in 0..24 {
        let mut down = TcpStream::connect(&web.outbound).await?;
        down.write_all(b"GET /endless HTTP/1.1\r\nHost: api\r\n\r\n")
            .await?;
        timeout(PATIENCE, down.peek(&mut [0])).await??;
        standing.push(down);
    }
    all_stand_still(&moved).await;
    let mut down = TcpStream::connect(&web.outbound).await?;
    down.write_all(b"GET /endless HTTP/1.1\r\nHost: api\r\n\r\n")
        .await?;
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    while read < 4 * 1024 * 1024 {
        let some = timeout(PATIENCE, down.read(&mut buffer)).await;
        read += some.context("held up by callers who do not read")??;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_there_passes_before_the_rest_comes() -> Result<()> {
    let (port, _task) = http2_echo().await?;
    let (_mesh, _api, web) = pair(port, "kubernetes.io/h2c").await?;
    let mut stream = TcpStream::connect(&web.outbound).await?;
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let mut heard = Vec::new();
    for word in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        stream.write_all(chunk.as_bytes()).await?;
        while !String::from_utf8_lossy(&heard).contains(word) {
            anyhow::ensure!(
                timeout(PATIENCE, stream.read_buf(&mut heard)).await?? > 0,
                "{word}"
            );
        }
    }
    Ok(())
}
