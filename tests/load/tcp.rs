//! Bytes that nobody looks into, through a pair: throughput of one stream, and what a GiB costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    comparison::{Comparison, Figure, Turn},
    peers::{Binaries, Field, Peer, Shape, Topology},
    process::real,
    protocol::Protocol,
    turns::{Meter, Output, Rounds},
    upstream::Upstream,
};

/// How long.
#[derive(Debug, clap::Args)]
pub(crate) struct Tcp {
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    output: Output,
}

/// Asked for at a time: so much that asking again costs nothing.
const PART: u64 = 64 * 1024 * 1024;

/// What is read at once.
const BUFFER: usize = 256 * 1024;

const MIB_PER_GIB: f64 = 1024.0;

const RATE: Figure = Figure::more("Gbit/s", 2);
const CPU: Figure = Figure::less("CPU ms/GiB", 0);

/// From the command line.
pub(crate) async fn run(arguments: &Tcp) -> Result<()> {
    let compared = compare(&arguments.binaries, arguments.rounds).await?;
    arguments.output.write(&[compared])
}

/// A pair of each peer.
pub(crate) async fn compare(binaries: &Binaries, rounds: Rounds) -> Result<Comparison> {
    let topology = Topology {
        shape: Shape::Pair,
        protocol: Protocol::Tcp,
    };
    let upstream = Upstream::start(Protocol::Tcp).await?;
    let field = Field::start(binaries, topology, &upstream).await?;
    let conditions = format!("one stream towards the caller, {}", rounds.conditions());
    let mut comparison = Comparison::new(topology.to_string(), conditions, &[RATE, CPU]);
    field.note_left_out(&mut comparison);
    let turn = async |peer: &Peer, length| turn(peer, length).await;
    rounds.run(&mut comparison, &field.all(), turn).await?;
    Ok(comparison)
}

async fn turn(peer: &Peer, length: Duration) -> Result<Turn> {
    let mut stream = TcpStream::connect(&peer.entry).await?;
    let mut buffer = vec![0; BUFFER];
    let meter = Meter::start(peer)?;
    let (began, mut bytes) = (Instant::now(), 0);
    while began.elapsed() < length {
        stream.write_u64(PART).await?;
        let mut missing = PART;
        while missing > 0 {
            let read = stream.read(&mut buffer).await? as u64;
            ensure!(read > 0, "{} closed the stream", peer.name);
            missing = missing.saturating_sub(read);
        }
        bytes += PART;
    }
    let took = began.elapsed();
    let mut values = vec![(RATE, real(bytes) * 8.0 / 1e9 / took.as_secs_f64())];
    if let Some(micros) = meter.micros_each(bytes / (1024 * 1024))? {
        values.push((CPU, micros * MIB_PER_GIB / 1000.0));
    }
    Ok(Turn { values, errors: 0 })
}
