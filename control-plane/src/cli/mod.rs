//! The command line: one verb, one file.
//!
//! Results go to stdout, progress and mistakes to stderr; with `--json` the result is one JSON document.
//! Exit codes are the same for all verbs ([`exit`]), so that scripts can tell "your files have mistakes" from
//! "nobody answers".
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks by printing"
)]

mod authz;
mod ca;
mod apply;
mod backup;
mod callers;
mod client;
mod diff;
mod explain;
mod found;
mod get;
mod help;
mod history;
mod inject;
mod instances;
mod locate;
mod offline;
mod operator;
mod paint;
mod rollback;
mod route;
mod registered;
mod restore;
mod run;
mod schema;
mod serve;
mod services;
mod status;
mod token;
mod validate;
mod wait;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use usher_config::parse::nearest;

/// What the codes mean that `usher` exits with; the numbers are those of `sysexits.h`.
pub mod exit {
    /// Done as asked.
    pub const OK: u8 = 0;
    /// The files that were checked have mistakes.
    pub const MISTAKES: u8 = 1;
    /// The command line itself is wrong.
    pub const USAGE: u8 = 64;
    /// Somebody who is needed does not answer, or refused.
    pub const UNAVAILABLE: u8 = 69;
    /// Something failed that should not: the message says what.
    pub const FAILED: u8 = 70;
    /// An address or a file that is needed cannot be had.
    pub const SYSTEM: u8 = 71;
    /// The configuration forbids it: a Mesh that cannot start, an application open around its sidecar.
    pub const CONFIGURATION: u8 = 78;
    /// Ctrl-C: 128 and the signal's number, as shells have it.
    pub const INTERRUPTED: u8 = 130;
    /// `usher run`: the command exists but cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// `usher run`: there is no such command.
    pub const NOT_FOUND: u8 = 127;
}

const AFTER_HELP: &str = "\
Start here:
  usher validate mesh/                                   check a directory of YAML
  usher serve --config mesh/                             run the control plane
  usher run --service web --port 8080 -- python3 app.py  run a process in the mesh
  usher gateway --name edge                              let the outside world in
  usher inject -f deployment.yaml | kubectl apply -f -   put sidecars into pods
  usher status                                           see what runs
  usher get                                              and what became of each object

Exit codes: 0 done, 1 mistakes in checked files, 64 usage, 69 nobody answers or refused, 70 failed,
71 an address or file is not to be had, 78 forbidden by configuration; `usher run` exits with its command's code.";

/// Usher: a service mesh of two small binaries and one directory of YAML.
#[derive(Debug, Parser)]
#[command(name = "usher", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(Box<serve::Serve>),
    Run(Box<run::Run>),
    Gateway(Box<run::Gateway>),
    Validate(validate::Validate),
    Diff(diff::Diff),
    Explain(explain::Explain),
    Route(route::Route),
    Authz(authz::Authz),
    Apply(apply::Apply),
    Schema(schema::Schema),
    Status(status::Status),
    Get(get::Get),
    Services(services::Services),
    Wait(wait::Wait),
    History(history::History),
    Rollback(rollback::Rollback),
    Inject(Box<inject::Inject>),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Instances(instances::Instances),
    Callers(callers::Callers),
    Watch(watch::Watch),
    Token(token::Token),
    Ca(ca::Ca),
    #[command(hide = true)]
    Tied(run::Tied),
    #[command(hide = true)]
    Guard(run::Guard),
}

/// Runs `usher` with its arguments, the program's own name first.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let program = args.first().map(PathBuf::from).unwrap_or_default();
    let cli = match parsed(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Fails only when the terminal is gone; there is nobody left to tell then.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            });
        }
    };
    let result = match cli.verb {
        Verb::Serve(verb) => verb.execute(),
        Verb::Run(verb) => verb.execute(&program),
        Verb::Gateway(verb) => verb.execute(&program),
        Verb::Validate(verb) => verb.execute(),
        Verb::Diff(verb) => verb.execute(),
        Verb::Explain(verb) => verb.execute(),
        Verb::Route(verb) => verb.execute(),
        Verb::Authz(verb) => verb.execute(),
        Verb::Apply(verb) => verb.execute(),
        Verb::Schema(verb) => verb.execute(),
        Verb::Status(verb) => verb.execute(),
        Verb::Get(verb) => verb.execute(),
        Verb::Services(verb) => verb.execute(),
        Verb::Wait(verb) => verb.execute(),
        Verb::History(verb) => verb.execute(),
        Verb::Rollback(verb) => verb.execute(),
        Verb::Inject(verb) => verb.execute(),
        Verb::Backup(verb) => verb.execute(),
        Verb::Restore(verb) => verb.execute(),
        Verb::Instances(verb) => verb.execute(),
        Verb::Callers(verb) => verb.execute(),
        Verb::Watch(verb) => verb.execute(),
        Verb::Token(verb) => verb.execute(),
        Verb::Ca(verb) => verb.execute(),
        Verb::Tied(verb) => verb.execute(),
        Verb::Guard(verb) => verb.execute(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            anstream::eprintln!("{}{failure}", paint::error_prefix());
            ExitCode::from(failure.code)
        }
    }
}

fn parsed(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = help::as_written(Cli::command());
    let matches = command.try_get_matches_from_mut(args);
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|mut error| {
        help::suggest(&mut error, &command, args);
        error
    })
}

/// Why a verb did not do what it was asked: a message for people, and a code for scripts.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
    advice: Vec<String>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            advice: Vec::new(),
        }
    }

    /// With the error's causes, one after the other.
    fn of(code: u8, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(code, message)
    }

    /// Adds a line that says what to do about it.
    fn advise(mut self, line: impl Into<String>) -> Self {
        self.advice.push(line.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.advice
            .iter()
            .try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A verb's end: the exit code, or why there is none of its own.
type Outcome = Result<u8, Failure>;

/// Runs a short verb's future on a runtime of its own.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(exit::FAILED, &error))?
        .block_on(future)
}

/// An address to listen on, as an argument.
fn address(text: &str) -> Result<SocketAddr, String> {
    let allowed = "an IP address and a port, such as 127.0.0.1:15012, 0.0.0.0:15012 or [::1]:15012; port 0: any that is free";
    text.parse().map_err(|_| format!("allowed: {allowed}"))
}

/// A zone's name, as an argument: what a Workload's `zone` may be.
fn zone(text: &str) -> Result<String, String> {
    let is_name = (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match is_name {
        true => Ok(text.to_owned()),
        false => {
            Err("allowed: 1-63 printable characters; left out: the Workload's zone".to_owned())
        }
    }
}

/// Advises the name beside a path that was probably meant.
fn meant_path(failure: Failure, path: &Path) -> Failure {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let beside = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter();
    let beside = beside.flatten().flatten();
    let beside: Vec<String> = beside
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match nearest(name, beside.iter().map(String::as_str)) {
        Some(near) if near != name => failure.advise(format!(
            "did you mean {}?",
            path.with_file_name(near).display()
        )),
        Some(_) | None => failure,
    }
}

/// Prints one JSON document.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::of(exit::FAILED, &error))?;
    anstream::println!("{text}");
    Ok(exit::OK)
}
