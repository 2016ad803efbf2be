//! The launcher's command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use usher_config::value::parse_duration;

use crate::drill::Name;

const EXAMPLES: &str = "\
Examples:
  cargo run --release                        open the bank and watch it; Ctrl-C closes it
  bank --data ./bank-data                    keep databases, logs and configuration
  bank --for 30s                             run for 30 s, then print a summary
  bank drill fraud-down                      one story, unattended
  bank drill all --json                      all stories, one JSON object each

Exit codes: 0 all well; 1 something failed; 2 wrong usage.
It is also every program of the bank: `bank usher status`, `bank usher-proxy --help`.";

/// A small bank on the Usher mesh: starts everything on this machine, and shows what happens.
#[derive(Debug, Parser)]
#[command(name = "bank", version, about, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Open the bank, make payments, show what happens (the default).
    Run(RunArguments),
    /// Play a story unattended; exit 0 only if its promise held.
    Drill(DrillArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Keep everything in this directory; without it, a temporary one that is deleted at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// End by itself after this long, with a summary; exit 0 only if nothing failed.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Payments per second.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) rate: u32,
}

#[derive(Debug, Args)]
pub(crate) struct DrillArguments {
    /// Which story: all of them, or one.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<Name>,
    /// One JSON object per drill on standard output: {name, held, seconds, saw, failures}.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the directory of a drill that failed, with all logs.
    #[arg(long)]
    pub(crate) keep: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
