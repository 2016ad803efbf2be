//! Closed loop through one plaintext hop or a pair: CPU per request, throughput, latency, memory.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    closed_loop,
    comparison::{Comparison, Figure, Turn},
    peers::{Binaries, Field, Peer, Shape, Topology},
    process::{real, rss_kib},
    protocol::Protocol,
    turns::{Meter, Output, Rounds},
    upstream::Upstream,
};

/// Which load.
#[derive(Debug, clap::Args)]
pub(crate) struct Hops {
    /// What the applications speak
    #[arg(long, value_enum, default_value = "http1")]
    protocol: Protocol,
    /// Requests at a time: connections of wrk, or eight times those of h2load
    #[arg(long, value_name = "COUNT", default_value_t = IN_FLIGHT)]
    connections: u32,
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    output: Output,
}

/// Enough that the proxies' core never waits for requests.
pub(crate) const IN_FLIGHT: u32 = 64;

const CPU: Figure = Figure::less("CPU µs/request", 1);
const RATE: Figure = Figure::more("requests/s", 0);
const P50: Figure = Figure::less("p50 ms", 2);
const P99: Figure = Figure::less("p99 ms", 2);
const RSS: Figure = Figure::less("RSS MiB", 1);

/// One topology, from the command line.
pub(crate) async fn run(arguments: &Hops, shape: Shape) -> Result<()> {
    let topology = Topology {
        shape,
        protocol: arguments.protocol,
    };
    let in_flight = arguments.connections;
    let compared = compare(&arguments.binaries, arguments.rounds, topology, in_flight).await?;
    arguments.output.write(&[compared])
}

/// The peers in one topology.
pub(crate) async fn compare(
    binaries: &Binaries,
    rounds: Rounds,
    topology: Topology,
    in_flight: u32,
) -> Result<Comparison> {
    let protocol = topology.protocol;
    ensure!(
        protocol != Protocol::Tcp,
        "TCP has a command of its own: tcp"
    );
    closed_loop::check_installed(protocol)?;
    let upstream = Upstream::start(protocol).await?;
    let field = Field::start(binaries, topology, &upstream).await?;
    let conditions = format!(
        "{in_flight} requests in flight, 1 KiB answers, {}; all proxies of a peer together on one core",
        rounds.conditions()
    );
    let figures = [CPU, RATE, P50, P99, RSS];
    let mut comparison = Comparison::new(topology.to_string(), conditions, &figures);
    let turn = async |peer: &Peer, length| turn(protocol, peer, in_flight, length);
    field.note_left_out(&mut comparison);
    rounds.run(&mut comparison, &field.all(), turn).await?;
    Ok(comparison)
}

fn turn(protocol: Protocol, peer: &Peer, in_flight: u32, length: Duration) -> Result<Turn> {
    let meter = Meter::start(peer)?;
    let load = closed_loop::load(protocol, &peer.entry, in_flight, length)?;
    let mut values = vec![
        (RATE, load.requests_per_second),
        (P50, load.p50_ms),
        (P99, load.p99_ms),
    ];
    if let Some(cpu) = meter.micros_each(load.requests)? {
        values.push((CPU, cpu));
        values.push((RSS, real(rss_kib(&peer.pids)?) / 1024.0));
    }
    Ok(Turn {
        values,
        errors: load.errors,
    })
}
