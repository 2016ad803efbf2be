//! The launcher's command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use usher_config::value::parse_duration;

use crate::drill::Name;

const EXAMPLES: &str = "\
Examples:
  cargo run --release                        open the bank and watch it; Ctrl-C closes it
  cargo run --release -- --for 30s           run for 30 s, then print a summary
  bank --data ./bank-data                    keep databases, logs and configuration
  bank >bank.log &                           no screen: who runs where once, then a line every 5 s
  bank drill fraud-down                      one story, unattended
  bank drill all --json                      all stories, one JSON document

Exit codes: 0 all well; 1 something failed; 2 wrong usage.
It takes free ports of its own, never those of `usher serve`, and a temporary directory (below TMPDIR, else
/tmp) without --data.
It is also every program of the bank: `bank usher status`, `bank usher-proxy --help`.";

const DRILL_EXAMPLES: &str = "\
Examples:
  bank drill all                             every story, one after the other: about three minutes
  bank drill fraud-down restart              two of them
  bank drill strangers --keep                if it fails, its logs stay, and it says where
  bank drill all --json | jq '.drills[] | {name, held}'

Without --json the story and its verdict are on standard output; with it, one document
{held, seconds, drills: [{name, held, seconds, saw, failures}]} is, and the story on standard error.
Exit codes: 0 every promise held; 1 one did not; 2 wrong usage.";

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
    #[command(after_help = DRILL_EXAMPLES, arg_required_else_help = true)]
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
    /// One JSON document on standard output at the end; the story goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the directory of a drill that failed, with all logs.
    #[arg(long)]
    pub(crate) keep: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if duration.is_zero() => {
            Err("found no time at all, allowed: some seconds, such as 30s".to_owned())
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests;
