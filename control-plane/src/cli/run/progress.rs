//! What `usher run` says about itself: on stderr, since stdout belongs to the command.

use super::super::paint::{DIM, paint};

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
    /// Not at all.
    Quiet,
}

impl Progress {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Quiet,
            (false, false) => Self::Text,
        }
    }

    /// Tells one step.
    pub(super) fn say(self, message: &str) {
        match self {
            Self::Text => anstream::eprintln!("{} {message}", paint(DIM, "usher:")),
            Self::Json => eprintln!(
                "{}",
                serde_json::json!({ "usher": "run", "message": message })
            ),
            Self::Quiet => {}
        }
    }

    /// Tells something that the user should look at, even if quiet.
    pub(super) fn warn(self, message: &str) {
        match self {
            Self::Text | Self::Quiet => {
                anstream::eprintln!("{} {message}", paint(super::super::paint::WARN, "usher:"));
            }
            Self::Json => {
                eprintln!(
                    "{}",
                    serde_json::json!({ "usher": "run", "warning": message })
                );
            }
        }
    }
}
