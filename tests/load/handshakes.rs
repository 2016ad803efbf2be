//! New connections: a full mutual TLS handshake, one request, close, at one inbound proxy.
//!
//! Both sides agree on a key by X25519, which every peer has; a second table has what is safe against quantum
//! computers too, of those that have it. The caller shows a certificate that the proxy trusts: ours that of a
//! sidecar. No session is resumed.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    comparison::{Comparison, Figure, Turn},
    peers::{Binaries, Field, Peer, Shape, Topology},
    process::real,
    protocol::Protocol,
    secured::Secured,
    tls::KeyExchange,
    turns::{Meter, Output, Rounds},
    upstream::Upstream,
};

/// How long.
#[derive(Debug, clap::Args)]
pub(crate) struct Handshakes {
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    output: Output,
}

/// Connections at a time: enough that the proxy never waits for the caller's half of the work.
const AT_A_TIME: usize = 8;

const CPU: Figure = Figure::less("CPU µs/connection", 0);
const PER_CPU: Figure = Figure::more("per CPU second", 0);
const RATE: Figure = Figure::more("connections/s", 0);

/// From the command line.
pub(crate) async fn run(arguments: &Handshakes) -> Result<()> {
    let compared = compare(&arguments.binaries, arguments.rounds).await?;
    arguments.output.write(&compared)
}

/// One table for each key exchange.
pub(crate) async fn compare(binaries: &Binaries, rounds: Rounds) -> Result<Vec<Comparison>> {
    let topology = Topology {
        shape: Shape::Inbound,
        protocol: Protocol::Http1,
    };
    let upstream = Upstream::start(Protocol::Http1).await?;
    let field = Field::start(binaries, topology, &upstream).await?;
    let mut compared = Vec::new();
    for (exchange, name) in [
        (KeyExchange::X25519, "X25519"),
        (KeyExchange::X25519MlKem768, "X25519MLKEM768"),
    ] {
        let conditions = format!(
            "full mutual TLS handshake, one request (HTTP/2 for usher, HTTP/1.1 for peers), close; inbound proxy; {}",
            rounds.conditions()
        );
        let title = format!("new connections, {name}");
        let mut comparison = Comparison::new(title, conditions, &[CPU, PER_CPU, RATE]);
        field.note_left_out(&mut comparison);
        let mut able = Vec::new();
        for peer in field.all() {
            if exchange == KeyExchange::X25519 || agrees(peer, exchange).await? {
                able.push(peer);
            } else {
                comparison.leave_out(peer.name, &format!("it does not know {name}"));
            }
        }
        let turn = async |peer: &Peer, length| turn(peer, exchange, length).await;
        rounds.run(&mut comparison, &able, turn).await?;
        compared.push(comparison);
    }
    Ok(compared)
}

/// Whether a handshake succeeds. The proxies have answered others before, so nothing else can be missing.
async fn agrees(peer: &Peer, exchange: KeyExchange) -> Result<bool> {
    Ok(connection(&Secured::new(peer, exchange)?).await.is_ok())
}

async fn turn(peer: &Peer, exchange: KeyExchange, length: Duration) -> Result<Turn> {
    let secured = Secured::new(peer, exchange)?;
    let meter = Meter::start(peer)?;
    let began = Instant::now();
    let callers = (0..AT_A_TIME).map(|_| async {
        let (mut done, mut errors) = (0_u64, 0_u64);
        while began.elapsed() < length {
            match connection(&secured).await {
                Ok(()) => done += 1,
                Err(_) => errors += 1,
            }
        }
        (done, errors)
    });
    let counts = futures_util::future::join_all(callers).await;
    let took = began.elapsed().as_secs_f64();
    let done = counts.iter().map(|(done, _)| done).sum::<u64>();
    let errors = counts.iter().map(|(_, errors)| errors).sum();
    let mut values = vec![(RATE, real(done) / took)];
    if let Some(micros) = meter.micros_each(done)? {
        values.extend([(CPU, micros), (PER_CPU, 1e6 / micros)]);
    }
    Ok(Turn { values, errors })
}

async fn connection(secured: &Secured<'_>) -> Result<()> {
    secured.connect().await?.close().await
}
