//! `usher history`: which configurations there were, whose, why, and what one of them changed.

use clap::Args;

use super::{
    Failure, Outcome, block_on, exit,
    locate::DataDirectory,
    operator::read,
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint, table},
};
use crate::{
    admin::operator::history::Changed,
    registry::store::CHANGED_MAX,
    status::{RevisionStatus, StatusReport, count},
};

/// Show earlier configurations: when, whose, why; and with a number, what that one changed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher history
  usher history 12                 # what revision 12 changed, all of it, as a diff
  usher history --json | jq '.[0]'

Exit codes: 0 shown, 64 usage, 69 no control plane answers, 70 there is no such revision.")]
pub(super) struct History {
    /// The revision whose changes are shown
    #[arg(value_name = "REVISION")]
    revision: Option<u64>,
    #[command(flatten)]
    data: DataDirectory,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) fn execute(self) -> Outcome {
        let Some(number) = self.revision else {
            let all: Vec<RevisionStatus> = block_on(read(&self.data, "/v1/revisions"))?;
            if self.json {
                return super::print_json(&all);
            }
            let status: StatusReport = block_on(read(&self.data, "/v1/status"))?;
            anstream::println!("{}", listed(&all, status.pinned));
            return Ok(exit::OK);
        };
        let path = format!("/v1/revisions/{number}");
        let changes: Vec<Changed> = block_on(read(&self.data, &path))?;
        if self.json {
            return super::print_json(&changes);
        }
        for change in &changes {
            let lines = object(
                &change.object,
                change.before.as_deref(),
                change.after.as_deref(),
            );
            anstream::println!("{}", lines.join("\n"));
        }
        if changes.is_empty() {
            anstream::println!("revision {number} changed no object");
        }
        Ok(exit::OK)
    }
}

fn listed(all: &[RevisionStatus], pinned: Option<u64>) -> String {
    let row = |one: &RevisionStatus| {
        let changed = match one.changed.as_slice() {
            [] => "-".to_owned(),
            [only] => only.clone(),
            // An older version has named the first hundred, and not said how many more there were.
            [first, rest @ ..] if rest.len() + 1 == CHANGED_MAX && one.changed_count == 0 => {
                format!("{first} and at least {} more", rest.len())
            }
            [first, rest @ ..] => {
                let named = count(rest.len() + 1);
                format!("{first} and {} more", one.changed_count.max(named) - 1)
            }
        };
        let or = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        let number = if one.restorable {
            one.number.to_string()
        } else {
            format!("({})", one.number)
        };
        vec![
            number,
            one.accepted_at.clone(),
            or(&one.origin),
            or(&one.author),
            changed,
            or(&one.message),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let mut text = table(
        &[
            "REVISION", "ACCEPTED", "ORIGIN", "AUTHOR", "CHANGED", "MESSAGE",
        ],
        &rows,
    );
    if all.iter().any(|one| !one.restorable) {
        text.push_str(&paint(DIM, "\n(in brackets: too old to go back to)"));
    }
    if let Some(pinned) = pinned {
        let held = format!(
            "\nrevision {pinned} is held: usher rollback --release lets the source decide again"
        );
        text.push_str(&paint(WARN, held));
    }
    text
}

/// What a revision did, an object a line: `+` added, `-` deleted, `~` changed.
pub(super) async fn did(data: &DataDirectory, revision: u64) -> Result<Vec<String>, Failure> {
    let changes: Vec<Changed> = read(data, &format!("/v1/revisions/{revision}")).await?;
    let line = |change: &Changed| match (&change.before, &change.after) {
        (None, _) => paint(GOOD, format!("  + {}", change.object)),
        (_, None) => paint(BAD, format!("  - {}", change.object)),
        _ => format!("  ~ {}", change.object),
    };
    Ok(changes.iter().map(line).collect())
}

/// A change of an object: its name with `+`, `-` or `~`, and the lines that differ with three around them.
pub(super) fn object(name: &str, before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let (sign, style) = match (before, after) {
        (None, _) => ("+", GOOD),
        (_, None) => ("-", BAD),
        _ => ("~", WARN),
    };
    let mut lines = vec![format!("{} {}", paint(style, sign), paint(HEAD, name))];
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let difference = similar::TextDiff::from_lines(before, after);
    for group in difference.grouped_ops(3) {
        for change in group
            .iter()
            .flat_map(|operation| difference.iter_changes(operation))
        {
            let line = change.value().trim_end();
            lines.push(match change.tag() {
                similar::ChangeTag::Delete => paint(BAD, format!("  - {line}")),
                similar::ChangeTag::Insert => paint(GOOD, format!("  + {line}")),
                similar::ChangeTag::Equal => paint(DIM, format!("    {line}")),
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests;
