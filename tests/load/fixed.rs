//! Latency at a fixed rate, open loop: what a caller waits when nobody is in a hurry.

use std::time::Duration;

use anyhow::Result;

use crate::{
    comparison::{Comparison, Figure, Turn},
    open_loop,
    peers::{Binaries, DIRECT, Field, Peer, Shape, Topology},
    protocol::Protocol,
    statistics::percentile,
    turns::{Meter, Output, Rounds},
    upstream::Upstream,
};

/// How many.
#[derive(Debug, clap::Args)]
pub(crate) struct Fixed {
    /// Requests a second
    #[arg(long, value_name = "COUNT", default_value_t = RATE)]
    rate: u32,
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    output: Output,
}

/// What an Istio sidecar is usually measured at.
pub(crate) const RATE: u32 = 1_000;

const ADDED_P50: Figure = Figure::less("added p50 ms", 2);
const ADDED_P90: Figure = Figure::less("added p90 ms", 2);
const P50: Figure = Figure::less("p50 ms", 2);
const P90: Figure = Figure::less("p90 ms", 2);
const P99: Figure = Figure::less("p99 ms", 2);
const P999: Figure = Figure::less("p99.9 ms", 2);
const CPU: Figure = Figure::less("CPU µs/request", 1);

/// From the command line.
pub(crate) async fn run(arguments: &Fixed) -> Result<()> {
    let compared = compare(&arguments.binaries, arguments.rounds, arguments.rate).await?;
    arguments.output.write(&[compared])
}

/// A pair of each peer; `added` is what it has above the direct path in the same round.
pub(crate) async fn compare(binaries: &Binaries, rounds: Rounds, rate: u32) -> Result<Comparison> {
    let upstream = Upstream::start(Protocol::Http1).await?;
    let topology = Topology {
        shape: Shape::Pair,
        protocol: Protocol::Http1,
    };
    let field = Field::start(binaries, topology, &upstream).await?;
    let conditions = format!(
        "open loop, 1 KiB answers, latency from the time at which a request was due, {}",
        rounds.conditions()
    );
    let figures = [ADDED_P50, ADDED_P90, P50, P90, P99, P999, CPU];
    let title = format!("{topology}, {rate} requests/s");
    let mut comparison = Comparison::new(title, conditions, &figures);
    field.note_left_out(&mut comparison);
    let turn = async |peer: &Peer, length| turn(peer, rate, length).await;
    rounds.run(&mut comparison, &field.all(), turn).await?;
    comparison.add_difference(ADDED_P50, P50, DIRECT);
    comparison.add_difference(ADDED_P90, P90, DIRECT);
    Ok(comparison)
}

async fn turn(peer: &Peer, rate: u32, length: Duration) -> Result<Turn> {
    let meter = Meter::start(peer)?;
    let answers = open_loop::run(&peer.entry, rate, length).await?;
    let cpu = meter.micros_each(answers.latencies.len() as u64)?;
    let percents = [(P50, 50.0), (P90, 90.0), (P99, 99.0), (P999, 99.9)];
    let values = percents.into_iter().filter_map(|(figure, percent)| {
        let latency = percentile(&answers.latencies, percent)?;
        Some((figure, latency.as_secs_f64() * 1000.0))
    });
    Ok(Turn {
        values: values.chain(cpu.map(|cpu| (CPU, cpu))).collect(),
        errors: answers.errors,
    })
}
