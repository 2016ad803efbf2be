//! What connections cost that nobody uses: memory of a proxy with thousands of them, and after they are gone.
//!
//! Each connection carries one request first, as a kept one has; then it only waits.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::net::TcpStream;

use crate::{
    comparison::{Comparison, Figure, Turn},
    kept::Kept,
    peers::{Binaries, Field, Peer, Shape, Topology},
    process::{real, rss_kib},
    protocol::Protocol,
    secured::Secured,
    tls::KeyExchange,
    turns::Output,
    upstream::Upstream,
};

/// How many, of each kind.
#[derive(Debug, clap::Args)]
pub(crate) struct Idle {
    /// Plaintext keep-alive connections of the application
    #[arg(long, value_name = "COUNT", default_value_t = PLAIN)]
    plain: usize,
    /// Mutual TLS connections of callers
    #[arg(long, value_name = "COUNT", default_value_t = MESH)]
    mesh: usize,
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    output: Output,
}

/// Plaintext connections: below the 8,192 that one worker of a sidecar takes.
pub(crate) const PLAIN: usize = 8_000;
/// Secured ones, which take their time to make.
pub(crate) const MESH: usize = 2_000;

/// How long before memory is read: buffers that are given back later do not count.
const SETTLED: Duration = Duration::from_secs(2);

const EACH: Figure = Figure::less("KiB/connection", 1);
const BEFORE: Figure = Figure::less("idle MiB", 1);
const WITH: Figure = Figure::less("with MiB", 1);
const AFTER: Figure = Figure::less("after, x idle", 2);

/// From the command line.
pub(crate) async fn run(arguments: &Idle) -> Result<()> {
    let counts = [arguments.plain, arguments.mesh];
    let compared = compare(&arguments.binaries, counts).await?;
    arguments.output.write(&compared)
}

/// The outbound proxy with plaintext connections of its application, the inbound one with those of other proxies.
pub(crate) async fn compare(
    binaries: &Binaries,
    [plain, mesh]: [usize; 2],
) -> Result<Vec<Comparison>> {
    let upstream = Upstream::start(Protocol::Http1).await?;
    let table = |title: &str, count: usize| {
        let conditions = format!("{count} connections after one request each, one proxy");
        Comparison::new(title, conditions, &[EACH, BEFORE, WITH, AFTER])
    };
    let mut plaintext = table("idle connections, plaintext HTTP/1.1", plain);
    let field = Field::start(binaries, http1(Shape::Pair), &upstream).await?;
    field.note_left_out(&mut plaintext);
    for peer in field.peers.iter().filter(|peer| !peer.pids.is_empty()) {
        let turn = held(peer, plain, async || in_plaintext(&peer.entry).await);
        plaintext.record(peer.name, turn.await?);
    }
    drop(field);
    let mut secured = table("idle connections, mutual TLS", mesh);
    let field = Field::start(binaries, http1(Shape::Inbound), &upstream).await?;
    field.note_left_out(&mut secured);
    for peer in &field.peers {
        let caller = Secured::new(peer, KeyExchange::X25519)?;
        let turn = held(peer, mesh, async || caller.connect().await);
        secured.record(peer.name, turn.await?);
    }
    Ok(vec![plaintext, secured])
}

fn http1(shape: Shape) -> Topology {
    let protocol = Protocol::Http1;
    Topology { shape, protocol }
}

/// Memory of the proxy that is called, before, with, and after so many connections.
async fn held<C>(peer: &Peer, count: usize, connect: impl AsyncFn() -> Result<C>) -> Result<Turn> {
    eprintln!("{}: {count} connections", peer.name);
    let pids = peer.called_pids();
    // The first one may meet a proxy that does not know its upstream yet.
    usher_tests::eventually(&format!("{} answers", peer.name), async || {
        connect().await.ok().map(drop)
    })
    .await;
    tokio::time::sleep(SETTLED).await;
    let before = rss_kib(pids)?;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(connect().await?);
    }
    tokio::time::sleep(SETTLED).await;
    let with = rss_kib(pids)?;
    drop(held);
    tokio::time::sleep(SETTLED).await;
    let after = rss_kib(pids)?;
    let each = real(with.saturating_sub(before)) / real(count.max(1) as u64);
    Ok(Turn {
        values: vec![
            (EACH, each),
            (BEFORE, real(before) / 1024.0),
            (WITH, real(with) / 1024.0),
            (AFTER, real(after) / real(before)),
        ],
        errors: 0,
    })
}

async fn in_plaintext(entry: &str) -> Result<Kept<TcpStream>> {
    let mut kept = Kept::new(TcpStream::connect(entry).await?);
    let status = kept.get().await?;
    ensure!(status == 200, "status {status}");
    Ok(kept)
}
