//! `usher guard`: ends what `usher run --transparent` has set up, whenever and however that ends.
//!
//! A table without its run would refuse every connection of a command that nobody supervises any more; a command without
//! its table would call around the mesh. So both end together, even if `usher run` is killed. The guard is a process
//! of its own, outside of the command's control group; a pipe that nobody else holds tells it that `usher run` is gone.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use clap::Args;
use nix::sys::signal::Signal;
use tokio::{io::AsyncReadExt as _, process::Command};
use usher_config::value::parse_duration;

use super::{
    super::Outcome,
    Failure, cgroup, exit,
    record::{self, Held},
    supervise,
};

/// What the guard is told at an orderly end: nobody is waited for.
pub(super) const NOW: &[u8] = b"now";

/// How often a group is removed that a dead process still holds for a moment.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Wait for the end of an intercepted run, and remove what it has set up; for `usher run --transparent`
#[derive(Debug, Args)]
pub(in super::super) struct Guard {
    /// The command's control group
    #[arg(long)]
    cgroup: String,
    /// The usher-proxy program
    #[arg(long)]
    proxy: PathBuf,
    /// Where the run has written what it holds
    #[arg(long)]
    record: PathBuf,
    /// How long the command may take to end if its run was killed
    #[arg(long, value_parser = parse_duration)]
    grace: Duration,
}

impl Guard {
    pub(in super::super) fn execute(self) -> Outcome {
        super::super::block_on(self.watch())
    }

    async fn watch(self) -> Outcome {
        // What ends a whole service or session must not end us before our work is done.
        let _undisturbed = supervise::Signals::listen()?;
        let mut told = Vec::new();
        // Whatever it is that ends the pipe, nobody is there any more.
        let _ = tokio::io::stdin().read_to_end(&mut told).await;
        if told != NOW {
            self.wait().await;
        }
        let held = Held {
            cgroup: self.cgroup,
        };
        release(&self.proxy, &held).await?;
        record::forget(&self.record);
        Ok(exit::OK)
    }

    /// Lets the command end by itself, but call nobody: the port of its sidecar may be anybody's by now.
    async fn wait(&self) {
        if let Err(failure) = close(&self.proxy, &self.cgroup).await {
            eprintln!("usher guard: {failure}; what is left of the command is killed at once");
            return;
        }
        // The kernel has told it that its parent is gone, unless it has another user id since (setpriv, su).
        cgroup::signal(&cgroup::directory(&self.cgroup), Signal::SIGTERM);
        cgroup::empties(&self.cgroup, self.grace).await;
    }
}

/// From now on what the group calls is refused.
pub(super) async fn close(proxy: &Path, cgroup: &str) -> Result<(), Failure> {
    intercept(proxy, &["install", "--only-cgroup", cgroup, "--closed"]).await
}

/// Processes first, then their rules: none of them ever calls around the mesh. What is gone already is no failure.
pub(super) async fn release(proxy: &Path, held: &Held) -> Result<(), Failure> {
    let by_hand = |failure: Failure| {
        failure.advise(format!(
            "to remove it by hand: usher-proxy intercept remove --only-cgroup {}",
            held.cgroup
        ))
    };
    let directory = cgroup::directory(&held.cgroup);
    let cannot = |error: &io::Error| {
        let message = format!("cannot remove {}: {error}", directory.display());
        by_hand(Failure::new(exit::SYSTEM, message))
    };
    cgroup::kill(&held.cgroup)
        .await
        .map_err(|error| cannot(&error))?;
    intercept(proxy, &["remove", "--only-cgroup", &held.cgroup])
        .await
        .map_err(by_hand)?;
    for _ in 0..TRIES {
        match cgroup::remove(&directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                tokio::time::sleep(PAUSE).await;
            }
            removed => return removed.map_err(|error| cannot(&error)),
        }
    }
    cgroup::remove(&directory).map_err(|error| cannot(&error))
}

/// Has the proxy change rules.
pub(super) async fn intercept(proxy: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new(proxy);
    command.arg("intercept").args(arguments);
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| {
        let message = format!("cannot start {}: {error}", proxy.display());
        Failure::new(exit::FAILED, message)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("usher-proxy intercept: ");
    Err(Failure::new(exit::SYSTEM, format!("--transparent: {said}")))
}
