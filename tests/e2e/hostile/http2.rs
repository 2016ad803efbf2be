//! HTTP/2 callers that flood: their own connection ends, or they wait; everybody else is served.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use usher_tests::{Client, Sidecar, eventually};

use super::{open_pair, polite};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const DATA: u8 = 0;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://api/`, by the static table but for the authority.
const GET: &[u8] = b"\x82\x86\x84\x41\x03api";
const POST: &[u8] = b"\x83\x86\x84\x41\x03api";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How a flood ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    closed: bool,
    goaway: Option<u32>,
}

/// Sends `count` frames (after a preface, settings and `first`) as fast as they are taken, reading meanwhile.
async fn flood(
    address: &str,
    first: Vec<u8>,
    count: u32,
    next: impl Fn(u32) -> Vec<u8>,
) -> Result<End> {
    let mut stream = TcpStream::connect(address).await?;
    let (mut reader, mut writer) = stream.split();
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    preface.extend(frame(SETTINGS, 0, 0, &[]));
    preface.extend(first);
    let send = async {
        writer.write_all(&preface).await?;
        for batch in 0..count / 100 {
            let frames: Vec<u8> = (batch * 100..(batch + 1) * 100).flat_map(&next).collect();
            writer.write_all(&frames).await?;
        }
        std::io::Result::Ok(())
    };
    let mut heard = Vec::new();
    let mut closed = false;
    let hear = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..read]);
        }
        closed = true;
    };
    let both = async {
        tokio::join!(
            timeout(Duration::from_secs(20), send),
            timeout(Duration::from_secs(5), hear)
        )
    };
    let _ = both.await;
    Ok(End {
        closed,
        goaway: goaway(&heard),
    })
}

/// The reason of the last GOAWAY.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    let mut reason = None;
    while let Some(head) = bytes.get(..9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = bytes.get(9..9 + length)?;
        if head[3] == GOAWAY {
            reason = payload
                .get(4..8)
                .map(|code| u32::from_be_bytes(code.try_into().expect("four")));
        }
        bytes = &bytes[9 + length..];
    }
    reason
}

fn resident_kib(sidecar: &Sidecar) -> u64 {
    let pid = sidecar.proxy_pid().expect("a proxy");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

const ENHANCE_YOUR_CALM: Option<u32> = Some(11);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_ends_its_own_connection_and_nobody_elses() -> Result<()> {
    let origin = polite().await?;
    let (_mesh, api, _web) = open_pair(origin.port()).await?;
    let address = api.inbound.clone();
    let before = resident_kib(&api);
    let odd = |number: u32| 2 * number + 1;
    let reset = |number: u32| {
        let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, odd(number), GET);
        frames.extend(frame(RST_STREAM, 0, odd(number), &8_u32.to_be_bytes()));
        frames
    };
    assert_eq!(
        flood(&address, Vec::new(), 20_000, reset).await?.goaway,
        ENHANCE_YOUR_CALM,
        "rapid reset"
    );
    let open = frame(HEADERS, END_STREAM, 1, GET);
    let end = flood(&address, open, 10_000, |_| {
        frame(CONTINUATION, 0, 1, b"\x40\x01x\x01y")
    })
    .await?;
    assert!(
        end.closed && end.goaway.is_some_and(|reason| reason != 0),
        "CONTINUATION: {end:?}"
    );
    let open = frame(HEADERS, END_HEADERS, 1, POST);
    let end = flood(&address, open, 200_000, |_| frame(DATA, 0, 1, b"")).await?;
    assert_eq!(end.goaway, ENHANCE_YOUR_CALM, "empty DATA");
    let large = [b"\x40\x01x\x7f\x80\x3f".as_slice(), &[b'a'; 8_192]].concat();
    let open = frame(HEADERS, END_STREAM, 1, GET);
    let end = flood(&address, open, 100, |_| frame(CONTINUATION, 0, 1, &large)).await?;
    assert!(end.closed, "a list of headers without end: {end:?}");
    // These are answered, one by one: whoever sends many, waits.
    for (kind, payload) in [(PING, &[0_u8; 8][..]), (SETTINGS, &[])] {
        let flooding = flood(&address, Vec::new(), 100_000, |_| {
            frame(kind, 0, 0, payload)
        });
        let served = async {
            for _ in 0..20 {
                let answer = timeout(
                    Duration::from_secs(2),
                    Client::direct(&address).get("/ready"),
                )
                .await;
                assert!(
                    matches!(&answer, Ok(Ok(answer)) if answer.status == 200),
                    "{answer:?}"
                );
            }
        };
        let _ = tokio::join!(flooding, served);
    }
    let grown = resident_kib(&api).saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more than before the floods");
    let ended = api
        .metric("usher_connections_ended_total", &["reason=\"flood\""])
        .await?;
    assert!(ended >= 2.0, "floods are counted: {ended}");
    assert_eq!(Client::direct(&address).get("/ready").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn whoever_never_finishes_a_head_is_let_go() -> Result<()> {
    let origin = polite().await?;
    let (_mesh, api, _web) = open_pair(origin.port()).await?;
    let patience = Duration::from_secs(30);
    let pieces: [&[u8]; 2] = [b"GET / HTTP/1.1\r\nHost: a", b"pi\r\nX: "];
    let heard = usher_tests::raw::say(&api.inbound, &pieces, patience).await?;
    assert!(heard.closed, "{heard:?}");
    eventually("it is counted", async || {
        let slow = ["reason=\"slow_head\""];
        let ended = api
            .metric("usher_connections_ended_total", &slow)
            .await
            .ok()?;
        (ended >= 1.0).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn out_of_descriptors_existing_connections_are_served_and_new_ones_later() -> Result<()> {
    let origin = polite().await?;
    let (_mesh, api, _web) = open_pair(origin.port()).await?;
    let mut held = TcpStream::connect(&api.inbound).await?;
    let mut ask = async || -> Result<String> {
        held.write_all(b"GET /ready HTTP/1.1\r\nHost: api\r\n\r\n")
            .await?;
        let mut answer = vec![0; 4096];
        let read = timeout(Duration::from_secs(3), held.read(&mut answer)).await??;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    assert!(ask().await?.starts_with("HTTP/1.1 200"));
    let pid = api.proxy_pid()?;
    let limit = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() + 5;
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={limit}:")])
        .status()?;
    anyhow::ensure!(limited.success(), "prlimit: {limited}");
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(TcpStream::connect(&api.inbound).await?);
    }
    eventually("the shortage is counted", async || {
        assert!(
            ask().await.ok()?.starts_with("HTTP/1.1 200"),
            "an existing connection"
        );
        let reason = ["reason=\"descriptors\""];
        // The metrics listener has no descriptor to spare either, until the crowd has gone.
        crowd.truncate(crowd.len().saturating_sub(5));
        let scrape = api.metric("usher_connections_ended_total", &reason);
        (timeout(Duration::from_millis(300), scrape)
            .await
            .ok()?
            .ok()?
            >= 1.0)
            .then_some(())
    })
    .await;
    drop(crowd);
    eventually("new connections are served again", async || {
        let answer = Client::direct(&api.inbound).get("/ready").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    Ok(())
}
