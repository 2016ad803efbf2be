//! `usher rollback`: back to an earlier configuration, and held there until somebody lets go.

use clap::Args;

use super::{
    Outcome, block_on, exit,
    history::did,
    locate::DataDirectory,
    operator::{author, command},
    paint::{GOOD, WARN, paint},
};
use crate::{admin::operator::history::Rollback as Wanted, status::StatusReport};

/// Put an earlier configuration in force, and hold it
///
/// It becomes a new revision, and stays whatever the configuration directory says: edits there are still checked (usher
/// status), and wait until --release. The newest revision can be held as it is.
#[derive(Debug, Args)]
#[command(override_usage = "\
usher rollback [OPTIONS] <REVISION>
       usher rollback [OPTIONS] --release")]
#[command(after_help = "\
Examples:
  usher history                                    # which revisions there are
  usher rollback 12 -m \"payments fail since 13\"
  usher rollback --release                         # the source decides again: waiting edits come into force

Exit codes: 0 in force, 64 usage, 69 no control plane answers, 70 refused: no such revision, or nothing to release.")]
pub(super) struct Rollback {
    /// The revision to go back to
    #[arg(
        value_name = "REVISION",
        required_unless_present = "release",
        conflicts_with = "release"
    )]
    revision: Option<u64>,
    /// Let go of the revision that is held
    #[arg(long)]
    release: bool,
    /// Why, for usher history
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// Let no mode wait for who calls in plaintext (usher callers), whoever made it Strict: from then on they are refused
    #[arg(long, conflicts_with = "release")]
    force: bool,
    #[command(flatten)]
    data: DataDirectory,
    /// Print the status afterwards as one JSON document
    #[arg(long)]
    json: bool,
}

impl Rollback {
    pub(super) fn execute(self) -> Outcome {
        let wanted = Wanted {
            to: self.revision,
            author: author(),
            message: self.message.clone(),
            force: self.force,
        };
        let status: StatusReport = block_on(command(&self.data, "/v1/rollback", &wanted))?;
        if self.json {
            return super::print_json(&status);
        }
        let number = status.revision.number;
        let line = match self.revision {
            Some(to) => format!(
                "{} is in force: it is revision {to} again, and {} until usher rollback --release",
                paint(GOOD, format!("revision {number}")),
                paint(WARN, "held")
            ),
            None => format!(
                "{}: the source decides again",
                paint(GOOD, format!("released as revision {number}"))
            ),
        };
        anstream::println!("{line}");
        for line in block_on(did(&self.data, number))? {
            anstream::println!("{line}");
        }
        let waits = status.conditions.iter();
        for one in waits.filter(|one| one.reason == "PlaintextCallers") {
            let head = format!("{}: {}", one.reason, one.object);
            anstream::eprintln!("\n{}\n  {}", paint(WARN, head), one.message);
        }
        Ok(exit::OK)
    }
}
