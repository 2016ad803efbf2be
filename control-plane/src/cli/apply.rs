//! `usher apply`: a configuration goes into the control plane's store, whole.

use std::{path::Path, path::PathBuf, time::Duration};

use clap::Args;
use http::{Method, StatusCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use usher_config::parse::{Parsed, parse_paths};

use super::{
    Failure, Outcome, block_on, exit,
    history::did,
    locate::DataDirectory,
    meant_path, operator,
    paint::{BAD, GOOD, WARN, paint},
    validate,
};
use crate::admin::operator::apply::{Applied, Apply as Wanted, File, NotApplied};

/// A large configuration is compiled once and may be decided upon several times.
const LIMIT: Duration = Duration::from_secs(120);

/// Write a configuration into the store of the control plane on this machine
///
/// The given paths are all of the mesh's configuration: what is in force and not among them is deleted. They are checked as
/// `usher validate` does, and again by the control plane against what is in force; one mistake, and nothing changes. Only
/// for a control plane that was started without --config: one configuration has one source.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher serve &                    # without --config: the store is the configuration's source
  usher apply mesh/
  usher apply mesh/ -m \"more patience with the ledger\"
  usher apply mesh/ --json | jq .revision.number

With `usher serve --store etcd://...` at any one of the control planes; the others follow within a moment.

Exit codes: 0 in force (a mode may wait for callers: it is said), 1 mistakes, 64 usage, 69 no control plane answers or its store cannot be reached, 70 refused,
130 interrupted before it was known what became of it.")]
pub(super) struct Apply {
    /// Files, or directories with *.yaml and *.yml files at any depth
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Why, for usher history
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// Let no mode wait for who calls in plaintext (usher callers), whoever made it Strict: from then on they are refused
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: DataDirectory,
    /// Print {"revision","isNew","conditions"}, or {"message","rejected"}
    #[arg(long)]
    json: bool,
}

impl Apply {
    pub(super) fn execute(self) -> Outcome {
        block_on(self.apply())
    }

    async fn apply(self) -> Outcome {
        let mut interrupts = Interrupts::new()?;
        let paths = self.paths.clone();
        let reading = tokio::task::spawn_blocking(move || parse_paths(&paths));
        let parsed = tokio::select! {
            parsed = reading => parsed.map_err(|error| Failure::of(exit::FAILED, &error))?,
            () = interrupts.next() => return Err(interrupted("nothing was sent: nothing has changed")),
        };
        let parsed = parsed.map_err(|error| {
            let failure = Failure::new(exit::FAILED, format!("cannot read {error}"));
            match self.paths.iter().find(|path| !path.exists()) {
                Some(path) => meant_path(failure, path),
                None => failure,
            }
        })?;
        if parsed.sources.is_empty() && parsed.unreadable.is_empty() {
            // Deleting everything must be said, not happen by a path that is wrong.
            let message = "there is no *.yaml or *.yml file in the given directories";
            return Err(Failure::new(exit::USAGE, message));
        }
        let errors = validate::show_errors(&parsed);
        if errors > 0 {
            let count = paint(BAD, validate::plural(errors, "error"));
            anstream::eprintln!("{count}: nothing was sent");
            return Ok(exit::MISTAKES);
        }
        let wanted = self.wanted(&parsed);
        match interrupts.answer(send(&self.data, &wanted)).await? {
            Ok(applied) => self.tell(&applied).await,
            Err(refused) => {
                if self.json {
                    super::print_json(&refused)?;
                } else {
                    for rejected in &refused.rejected {
                        anstream::eprintln!(
                            "{}",
                            super::status::rejected_lines(rejected).join("\n")
                        );
                    }
                    anstream::eprintln!("{}", refused.message);
                }
                Ok(exit::MISTAKES)
            }
        }
    }

    /// Files by the names that they have below the directory, so that the same folder elsewhere is the same configuration.
    fn wanted(&self, parsed: &Parsed) -> Wanted {
        let base = match self.paths.as_slice() {
            [one] if one.is_dir() => one.as_path(),
            _ => Path::new(""),
        };
        let file = |(path, text): (&PathBuf, &std::sync::Arc<str>)| File {
            path: path
                .strip_prefix(base)
                .unwrap_or(path)
                .display()
                .to_string(),
            text: text.to_string(),
        };
        Wanted {
            files: parsed.sources.iter().map(file).collect(),
            author: operator::author(),
            message: self.message.clone(),
            force: self.force,
        }
    }

    async fn tell(&self, applied: &Applied) -> Outcome {
        if self.json {
            return super::print_json(applied);
        }
        let revision = &applied.revision;
        let number = paint(GOOD, format!("revision {}", revision.number));
        anstream::println!(
            "{number} {}",
            match applied.is_new {
                true => "is in force",
                false => "was in force already: nothing has changed",
            }
        );
        if applied.is_new {
            for line in did(&self.data, revision.number).await? {
                anstream::println!("{line}");
            }
        }
        if applied.is_new && revision.message != self.message {
            anstream::eprintln!("{}", paint(WARN, &revision.message));
        }
        for condition in &applied.conditions {
            let head = format!("{}: {}", condition.reason, condition.object);
            anstream::eprintln!("\n{}\n  {}", paint(WARN, head), condition.message);
        }
        Ok(exit::OK)
    }
}

/// Ctrl-C. What was sent is decided on all the same, so that whoever interrupts is told what has become of it.
struct Interrupts(Signal);

/// How long an answer is waited for after an interruption.
const LAST_WORD: Duration = Duration::from_secs(5);

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let signals = signal(SignalKind::interrupt());
        signals
            .map(Self)
            .map_err(|error| Failure::of(exit::FAILED, &error))
    }

    async fn next(&mut self) {
        // `None`: none will ever come.
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// The answer, if it comes; else that nobody knows.
    async fn answer<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            () = self.next() => {}
        }
        anstream::eprintln!(
            "interrupted: it was sent, and is applied whole or not at all; waiting {} s for what has become of it",
            LAST_WORD.as_secs()
        );
        tokio::select! {
            answer = answer => return answer,
            () = tokio::time::sleep(LAST_WORD) => {}
            () = self.next() => {}
        }
        Err(interrupted(
            "the control plane has not said yet whether it is applied",
        )
        .advise("usher history shows it, if it is: the newest revision, with its origin, author and message"))
    }
}

fn interrupted(what: &str) -> Failure {
    Failure::new(exit::INTERRUPTED, format!("interrupted: {what}"))
}

async fn send(
    data: &DataDirectory,
    wanted: &Wanted,
) -> Result<Result<Applied, NotApplied>, Failure> {
    let request = (Method::POST, "/v1/apply");
    match operator::exchange(data, request, operator::written(wanted)?, LIMIT).await? {
        Ok(body) => Ok(Ok(operator::answered(body)?)),
        Err((StatusCode::UNPROCESSABLE_ENTITY, message)) => {
            Ok(Err(operator::answered(message.into())?))
        }
        Err(refusal) => Err(operator::refused(refusal)),
    }
}
