//! Programs that do their work and then fail: what a mesh must never ask twice.
//!
//! "Work" is a line with the request's id appended to the file `EXECUTIONS`: it survives every crash and
//! is the truth the drill `retry-safety` counts. How a request fails is said by the request itself.

mod grpc;
mod rest;

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::net::TcpListener;

pub(crate) use self::{grpc::run as run_grpc, rest::run as run_rest};

/// What a request asks to happen after the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Answer.
    Well,
    /// Fail with this status: an HTTP code over REST, a gRPC code's name over gRPC.
    Failure(&'static str),
    /// Fail as above, but only the first time this id is executed.
    FailureOnce(&'static str),
    /// Close the connection without an answer.
    Drop,
    /// Close the connection without an answer the first time this id is executed.
    DropOnce,
    /// Answer later than anybody waits.
    Late,
}

/// Longer than the callers' patience in `mesh/retry-safety.yaml`.
const LATE: Duration = Duration::from_secs(3);
const ONCE: &str = "-once";
const FAILURES: [&str; 5] = ["500", "502", "503", "internal", "unavailable"];

impl Ending {
    /// How it is spelled in a request: `well`, `503`, `503-once`, `drop`, `drop-once`, `late`.
    pub(crate) fn word(self) -> String {
        match self {
            Self::Well => "well".to_owned(),
            Self::Failure(status) => status.to_owned(),
            Self::FailureOnce(status) => format!("{status}{ONCE}"),
            Self::Drop => "drop".to_owned(),
            Self::DropOnce => format!("drop{ONCE}"),
            Self::Late => "late".to_owned(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let failure = |status: &str| FAILURES.into_iter().find(|known| *known == status);
        match word {
            "well" => Some(Self::Well),
            "drop" => Some(Self::Drop),
            "drop-once" => Some(Self::DropOnce),
            "late" => Some(Self::Late),
            _ => match word.strip_suffix(ONCE) {
                Some(status) => failure(status).map(Self::FailureOnce),
                None => failure(word).map(Self::Failure),
            },
        }
    }

    /// What it comes to when the same work was done `before` times already.
    fn this_time(self, before: usize) -> Self {
        match self {
            Self::FailureOnce(_) | Self::DropOnce if before > 0 => Self::Well,
            Self::FailureOnce(status) => Self::Failure(status),
            Self::DropOnce => Self::Drop,
            Self::Well | Self::Failure(_) | Self::Drop | Self::Late => self,
        }
    }
}

/// The file of executions, shared by all replicas of a service.
#[derive(Debug, Clone)]
struct Executions(PathBuf);

impl Executions {
    fn from_environment() -> anyhow::Result<Self> {
        Ok(Self(variable("EXECUTIONS")?.into()))
    }

    /// Does the work; tells how often it had been done before.
    fn execute(&self, id: &str) -> anyhow::Result<usize> {
        let before = executions(&self.0).get(id).copied().unwrap_or_default();
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0)?;
        // One write of one short line: replicas never mix their lines.
        file.write_all(format!("{id}\n").as_bytes())?;
        Ok(before)
    }
}

/// How often each request was executed, by id; empty while nothing was.
pub(crate) fn executions(file: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for id in fs::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    counts
}

async fn listen() -> anyhow::Result<TcpListener> {
    let host: IpAddr = variable("HOST")?
        .parse()
        .context("HOST is not an IP address")?;
    let port: u16 = variable("PORT")?.parse().context("PORT is not a port")?;
    let address = SocketAddr::from((host, port));
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

#[cfg(test)]
mod tests;
