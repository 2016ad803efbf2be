//! `usher wait`: until every connected sidecar runs a configuration.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use clap::Args;
use usher_config::value::parse_duration;

use super::{
    Failure, Outcome, block_on, exit, get,
    locate::ServerAddress,
    paint::{BAD, DIM, GOOD, paint},
    status::{fetch, waiting},
};
use crate::status::{ObjectReport, ProxyReport, StatusReport};

/// Wait until a configuration is accepted and every connected sidecar that it concerns runs it
///
/// Of several control planes on one store, the one that is asked knows of its own sidecars: ask each.
/// A sidecar that refuses it ends the waiting at once, and so does an object with a mistake; without --revision, so does a
/// revision that is held (`usher rollback`) while the source has another.
/// With --strict it also looks at each object then: one that does not do all that it says, or has a warning, is a failure.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cp new-route.yaml mesh/ && usher wait             # the newest revision, everywhere
  usher apply mesh/ && usher wait --timeout 30s
  usher wait --revision 14 --json
  usher wait --strict                               # in a pipeline: no object that usher get --not-ready would list

Exit codes: 0 it runs everywhere, 1 it does not: refused, held back, or not within the timeout; with --strict
also where it runs, and an object is not accepted, not resolved, not run by all sidecars that are told of it, partly without
effect, or has a warning (usher get --not-ready); 64 usage, 69 no control plane answers.")]
pub(super) struct Wait {
    /// At least this revision [default: the newest]
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// For how long, such as 30s or 5m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    server: ServerAddress,
    /// Exit with 1 also if any object is one that usher get --not-ready lists: refused, or with a warning
    #[arg(long)]
    strict: bool,
    /// Print {"done","revision","programmed","of","behind":[…],"refused":[…],"held":…}, with --strict also "notReady":[…]
    #[arg(long)]
    json: bool,
}

/// Between looks.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a change needs to be noticed: whoever has just saved a file means the revision that comes of it.
const SETTLE: Duration = Duration::from_millis(800);

impl Wait {
    pub(super) fn execute(self) -> Outcome {
        let authority = self.server.authority()?;
        block_on(self.wait(&authority))
    }

    async fn wait(&self, authority: &str) -> Outcome {
        let began = Instant::now();
        let mut progress = Progress::new(self.json);
        loop {
            let status: StatusReport = fetch(authority, "/v1/status").await?;
            let seen = Seen::of(&status, self.revision);
            let settled = self.revision.is_some() || began.elapsed() >= SETTLE;
            if settled && (seen.is_done() || seen.is_hopeless()) {
                progress.clear();
                let complaints = self.complaints(authority).await?;
                return self.tell(&seen, None, &complaints);
            }
            if began.elapsed() >= self.timeout {
                progress.clear();
                let complaints = self.complaints(authority).await?;
                return self.tell(&seen, Some(self.timeout), &complaints);
            }
            progress.show(seen.waiting());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What is asked for beyond that it runs everywhere.
    async fn complaints(&self, authority: &str) -> Result<Vec<String>, Failure> {
        if !self.strict {
            return Ok(Vec::new());
        }
        let objects: Vec<ObjectReport> = fetch(authority, "/v1/objects").await?;
        Ok(get::not_ready(&objects))
    }

    fn tell(&self, seen: &Seen, timeout: Option<Duration>, complaints: &[String]) -> Outcome {
        let done = seen.is_done() && complaints.is_empty();
        if self.json {
            let mut told = serde_json::json!({
                "done": done,
                "revision": seen.revision,
                "programmed": seen.programmed,
                "of": seen.of,
                "behind": seen.behind,
                "refused": seen.refused,
                "held": seen.held,
            });
            if let Some(fields) = told.as_object_mut().filter(|_| self.strict) {
                fields.insert("notReady".to_owned(), complaints.into());
            }
            super::print_json(&told)?;
        } else if done {
            anstream::println!("{} {}", paint(GOOD, "done:"), seen.line());
            if let Some(held) = &seen.held {
                anstream::eprintln!("  {held}");
            }
        } else {
            let why = match (seen.refused.is_empty(), &seen.held, timeout) {
                _ if seen.is_done() => "not as written everywhere (--strict):",
                (true, Some(_), _) => "held:",
                (true, None, Some(_)) => "not in time:",
                _ => "refused:",
            };
            anstream::eprintln!("{} {}", paint(BAD, why), seen.line());
            let lines = seen.refused.iter().chain(&seen.held);
            let lines = lines.chain(&seen.behind).chain(complaints);
            for line in lines {
                anstream::eprintln!("  {line}");
            }
        }
        Ok(if done { exit::OK } else { exit::MISTAKES })
    }
}

/// What is waited for, on stderr: in a terminal one line that is written over, elsewhere a line whenever it is another.
struct Progress {
    is_silent: bool,
    is_terminal: bool,
    shown: String,
}

impl Progress {
    fn new(is_silent: bool) -> Self {
        Self {
            is_silent,
            is_terminal: io::stderr().is_terminal(),
            shown: String::new(),
        }
    }

    fn show(&mut self, what: String) {
        if self.is_silent || what == self.shown {
            return;
        }
        let line = paint(DIM, &what);
        // Fails only when nobody reads it any more.
        let _ = match self.is_terminal {
            true => write!(anstream::stderr(), "\r\x1b[K{line}"),
            false => writeln!(anstream::stderr(), "{line}"),
        };
        let _ = io::stderr().flush();
        self.shown = what;
    }

    fn clear(&self) {
        if self.is_terminal && !self.shown.is_empty() {
            let _ = write!(anstream::stderr(), "\r\x1b[K");
        }
    }
}

/// How many sidecars are named.
const NAMED_MAX: usize = 3;

/// How far it has come.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    wanted: u64,
    revision: u64,
    programmed: usize,
    of: usize,
    /// Sidecars that do not run it yet.
    behind: Vec<String>,
    /// Who refused what.
    refused: Vec<String>,
    /// That edits wait, because a revision is held. They are no matter of whoever waits for a revision of a number.
    held: Option<String>,
}

impl Seen {
    fn of(status: &StatusReport, wanted: Option<u64>) -> Self {
        let behind = |proxy: &&ProxyReport| !proxy.up_to_date;
        let proxies = &status.proxies;
        let nacks = proxies.iter().filter_map(|proxy| {
            let nack = proxy.last_nack.as_ref()?;
            Some(format!("{}: {}", proxy.node, nack.message))
        });
        let rejected = status.rejected.iter().map(|rejected| {
            let first = rejected.mistakes.first();
            let why = first.map(|one| format!("{}: {}", one.at, one.message));
            format!("{}: {}", rejected.object, why.unwrap_or_default())
        });
        let held = status.pinned.filter(|_| !status.waiting.is_empty());
        let held = held.map(|pinned| {
            let waiting = waiting(&status.waiting);
            format!("revision {pinned} is held: {waiting} (usher rollback --release)")
        });
        Self {
            wanted: wanted.unwrap_or(0),
            revision: status.revision.number,
            programmed: proxies.iter().filter(|proxy| proxy.up_to_date).count(),
            of: proxies.len(),
            behind: proxies
                .iter()
                .filter(behind)
                .map(|proxy| proxy.node.clone())
                .collect(),
            refused: nacks.chain(rejected).collect(),
            held,
        }
    }

    fn is_done(&self) -> bool {
        self.revision >= self.wanted && self.behind.is_empty() && !self.is_hopeless()
    }

    /// More time does not help.
    fn is_hopeless(&self) -> bool {
        !self.refused.is_empty() || self.wanted == 0 && self.held.is_some()
    }

    /// What there is still to wait for.
    fn waiting(&self) -> String {
        let line = self.line();
        if self.revision < self.wanted {
            return format!("waiting for revision {}: {line}", self.wanted);
        }
        if self.is_done() {
            return format!("{line}; waiting for a moment whether an edit was just saved");
        }
        let named: Vec<&str> = self
            .behind
            .iter()
            .take(NAMED_MAX)
            .map(String::as_str)
            .collect();
        let more = match self.behind.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match (named.as_slice(), &self.held) {
            ([], Some(held)) if self.refused.is_empty() => format!("{line}; {held}"),
            // Something was refused, which an edit that was just saved may have mended.
            ([], _) => format!(
                "{line}; something is refused, waiting for a moment whether it was just mended"
            ),
            (named, _) => format!("waiting for {}{more}: {line}", named.join(", ")),
        }
    }

    fn line(&self) -> String {
        let Self {
            wanted,
            revision,
            programmed,
            of,
            ..
        } = self;
        match revision < wanted {
            true => format!("revision {wanted} is not there yet, the newest is {revision}"),
            false => format!("revision {revision} runs in {programmed} of {of} sidecars"),
        }
    }
}

#[cfg(test)]
mod tests;
