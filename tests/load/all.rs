//! Every comparison, one after the other, into one file and one chart.

use anyhow::{Result, ensure};

use crate::{
    comparison::Comparison,
    fixed, handshakes, hops, idle, known,
    peers::{Binaries, Shape, Topology},
    protocol::Protocol,
    tcp,
    turns::{Output, Rounds, print},
};

/// How long each.
#[derive(Debug, clap::Args)]
pub(crate) struct All {
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    output: Output,
}

/// In the order of the table and the chart.
#[derive(Debug, Clone, Copy)]
enum Part {
    Hops(Topology),
    Fixed,
    Tcp,
    Handshakes,
    Idle,
    Known,
}

const fn hops(shape: Shape, protocol: Protocol) -> Part {
    Part::Hops(Topology { shape, protocol })
}

const PARTS: [Part; 9] = [
    hops(Shape::Pair, Protocol::Http1),
    hops(Shape::Pair, Protocol::Http2),
    hops(Shape::Pair, Protocol::Grpc),
    hops(Shape::Plain, Protocol::Http1),
    Part::Fixed,
    Part::Tcp,
    Part::Handshakes,
    Part::Idle,
    Part::Known,
];

/// What was measured is shown and saved at once: a part that fails takes nothing with it.
pub(crate) async fn run(arguments: &All) -> Result<()> {
    let (mut compared, mut failed) = (Vec::new(), Vec::new());
    for part in PARTS {
        match measure(part, arguments).await {
            Ok(part) => {
                print(&part);
                compared.extend(part);
                arguments.output.save(&compared)?;
            }
            Err(error) => {
                eprintln!("{part:?}: {error:#}");
                failed.push(part);
            }
        }
    }
    ensure!(failed.is_empty(), "not measured: {failed:?}; see above");
    Ok(())
}

async fn measure(part: Part, arguments: &All) -> Result<Vec<Comparison>> {
    let (binaries, rounds) = (&arguments.binaries, arguments.rounds);
    let one = match part {
        Part::Hops(topology) => hops::compare(binaries, rounds, topology, hops::IN_FLIGHT).await?,
        Part::Fixed => fixed::compare(binaries, rounds, fixed::RATE).await?,
        Part::Tcp => tcp::compare(binaries, rounds).await?,
        Part::Handshakes => return handshakes::compare(binaries, rounds).await,
        Part::Idle => return idle::compare(binaries, [idle::PLAIN, idle::MESH]).await,
        Part::Known => known::compare(binaries, known::SERVICES).await?,
    };
    Ok(vec![one])
}
