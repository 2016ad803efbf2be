//! `usher schema`: what editors need to complete and check configuration while it is typed.

use std::io::{ErrorKind, Write as _};

use clap::Args;

use super::{Failure, Outcome, exit};

/// Print the JSON Schema of all kinds, for editors
///
/// With it, an editor completes fields, shows what they mean, and underlines mistakes while typing. It knows each
/// object by itself; what several objects make together, only `usher validate` knows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher schema > usher.schema.json
  (then, as the first line of a file)  # yaml-language-server: $schema=usher.schema.json

Exit codes: 0 printed, 64 usage, 70 it could not be written.")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self) -> Outcome {
        let Self {} = self;
        let written = std::io::stdout().write_all(usher_config::schema::COMBINED.as_bytes());
        match written {
            Ok(()) => Ok(exit::OK),
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(exit::OK),
            Err(error) => Err(Failure::of(exit::FAILED, &error)),
        }
    }
}
