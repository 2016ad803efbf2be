//! `usher history`: which configurations there were, whose, why, and what one of them changed.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use http::Method;
use serde::de::DeserializeOwned;

use super::{
    Failure, Outcome, block_on,
    client::{ClientError, Server},
    exit,
    locate::DataDirectory,
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint, table},
};
use crate::{
    admin::operator::history::Changed,
    status::{RevisionStatus, StatusReport},
};

/// Show earlier configurations: when, whose, why; and with a number, what that one changed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher history
  usher history 12                 # what revision 12 changed, as a diff
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
            let all: Vec<RevisionStatus> =
                block_on(ask(&self.data, Method::GET, "/v1/revisions", Vec::new()))?;
            if self.json {
                return super::print_json(&all);
            }
            let status: StatusReport =
                block_on(ask(&self.data, Method::GET, "/v1/status", Vec::new()))?;
            anstream::println!("{}", listed(&all, status.pinned));
            return Ok(exit::OK);
        };
        let path = format!("/v1/revisions/{number}");
        let changes: Vec<Changed> = block_on(ask(&self.data, Method::GET, &path, Vec::new()))?;
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
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
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

/// Who gives a command, for the record: a name that nobody checks, as only the owner of the socket can be heard there.
pub(super) fn author() -> String {
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names: BTreeSet<String> = ["SUDO_USER", "USER"]
        .into_iter()
        .filter_map(named)
        .collect();
    match (named("SUDO_USER"), names.into_iter().next()) {
        (Some(user), _) | (None, Some(user)) => user,
        (None, None) => format!("uid {}", nix::unistd::getuid()),
    }
}

/// Asks the control plane on this machine through its operator socket.
pub(super) async fn ask<T: DeserializeOwned>(
    data: &DataDirectory,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<T, Failure> {
    let socket = data.operator_socket();
    let limit = Duration::from_secs(60);
    let answer = Server::Unix(socket.clone())
        .ask(method, path, body.into(), limit)
        .await;
    match answer {
        Ok(body) => {
            serde_json::from_slice(&body).map_err(|error| Failure::of(exit::FAILED, &error))
        }
        Err(error @ ClientError::Refused { .. }) => Err(Failure::of(exit::FAILED, &error)),
        Err(error) => {
            let cause = Failure::of(exit::UNAVAILABLE, &error).message;
            let socket = socket.display();
            let message =
                format!("no control plane answers on its operator socket {socket}: {cause}");
            Err(Failure::new(exit::UNAVAILABLE, message)
                .advise("it is asked on the machine where it runs, by the user that runs it")
                .advise("one with another data directory: --data DIR, or USHER_DATA"))
        }
    }
}

#[cfg(test)]
mod tests;
