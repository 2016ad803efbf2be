//! Peers take turns A B C A B C, so that a machine that gets slower gets slower for all of them.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use usher_tests::eventually;

use crate::{
    chart,
    comparison::{Comparison, Turn},
    peers::Peer,
    process::{cpu_nanos, real},
};

/// How long and how often.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Rounds {
    /// Length of one turn
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    seconds: u64,
    /// Turns of each peer
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,
}

/// Before the first turn that counts.
const WARM: Duration = Duration::from_secs(1);

impl Rounds {
    /// As a table's heading says it.
    pub(crate) fn conditions(&self) -> String {
        format!("{} turns of {} s", self.rounds, self.seconds)
    }

    /// Every peer warms up until nothing fails, then they take turns.
    pub(crate) async fn run(
        &self,
        comparison: &mut Comparison,
        peers: &[&Peer],
        turn: impl AsyncFn(&Peer, Duration) -> Result<Turn>,
    ) -> Result<()> {
        for peer in peers {
            let answers = async || turn(peer, WARM).await.ok().filter(|t| t.errors == 0);
            eventually(&format!("{} answers without an error", peer.name), answers).await;
        }
        for round in 1..=self.rounds {
            for peer in peers {
                eprintln!(
                    "{}, round {round}/{}: {}",
                    comparison.title(),
                    self.rounds,
                    peer.name
                );
                let taken = turn(peer, Duration::from_secs(self.seconds)).await?;
                comparison.record(peer.name, taken);
            }
        }
        Ok(())
    }
}

/// Time on CPU of a peer's processes, from now on.
pub(crate) struct Meter<'a> {
    peer: &'a Peer,
    before: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(peer: &'a Peer) -> Result<Self> {
        let before = cpu_nanos(&peer.pids)?;
        Ok(Self { peer, before })
    }

    /// Microseconds for each of so many; none where there is no proxy.
    pub(crate) fn micros_each(self, count: u64) -> Result<Option<f64>> {
        if self.peer.pids.is_empty() || count == 0 {
            return Ok(None);
        }
        let nanos = cpu_nanos(&self.peer.pids)?.saturating_sub(self.before);
        Ok(Some(real(nanos) / 1000.0 / real(count)))
    }
}

/// Where results go beside the terminal.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Output {
    /// Write every number here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the chart here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Output {
    /// Tables on the terminal, and the files that were asked for.
    pub(crate) fn write(&self, comparisons: &[Comparison]) -> Result<()> {
        print(comparisons);
        self.save(comparisons)
    }

    /// The files that were asked for.
    pub(crate) fn save(&self, comparisons: &[Comparison]) -> Result<()> {
        if let Some(path) = &self.json {
            let all: Vec<_> = comparisons.iter().map(Comparison::json).collect();
            std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
        }
        if let Some(path) = &self.svg {
            std::fs::write(path, chart::svg(comparisons))?;
        }
        Ok(())
    }
}

/// Tables on the terminal.
pub(crate) fn print(comparisons: &[Comparison]) {
    for comparison in comparisons {
        println!("\n{}", comparison.table());
    }
}
