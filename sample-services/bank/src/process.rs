//! One process tree the launcher started: its log, its end, and how it is ended.
//!
//! Each tree has a process group of its own, so that Ctrl-C reaches only the launcher, which then stops
//! everything in order. A tree is ended by the ids we started, never by a name.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::Child,
    time::{sleep, timeout},
};

use crate::{
    process_table::{ProcessTable, is_running},
    programs::LAUNCHER_PID,
};

/// How a process is started, and started again.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Names the process to people, and its log.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(String, OsString)>,
    /// Standard output and error are appended here.
    pub(crate) log: PathBuf,
}

/// A started process and all below it. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Launch {
    /// Starts the process.
    ///
    /// # Errors
    /// When its log can't be written or the program can't be executed.
    pub(crate) fn start(&self) -> anyhow::Result<Process> {
        let log = open_log(&self.log)?;
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(LAUNCHER_PID, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("a process without an id")?;
        let name = self.name.clone();
        Ok(Process {
            name,
            child,
            pid: Pid::from_raw(pid),
            ended: None,
        })
    }
}

impl Process {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Kills the whole tree at once, as a machine that loses its power would.
    ///
    /// # Errors
    /// When the kernel refuses the signal.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        // Only while it isn't reaped is its id certainly still its own.
        if self.ended().is_none() {
            // Who is below it is known only while it lives; the sidecar leads a group of its own.
            let tree = ProcessTable::read().tree(self.pid);
            for pid in &tree {
                match kill(*pid, Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(error).context(format!("cannot kill {}", self.name)),
                }
            }
            self.ended = Some(self.child.wait().await?);
            all_end(&tree).await;
        }
        Ok(())
    }

    /// Asks the process to end, and kills the tree when it hasn't within `limit`.
    ///
    /// # Errors
    /// When the kernel refuses a signal.
    pub(crate) async fn stop(&mut self, limit: Duration) -> anyhow::Result<Stopped> {
        if let Some(status) = self.ended() {
            return Ok(Stopped::Itself(status));
        }
        kill(self.pid, Signal::SIGTERM).with_context(|| format!("cannot stop {}", self.name))?;
        if let Ok(status) = timeout(limit, self.child.wait()).await {
            let status = status?;
            self.ended = Some(status);
            return Ok(Stopped::Asked(status));
        }
        self.kill().await?;
        Ok(Stopped::Killed { after: limit })
    }
}

/// How a process came to its end when it was to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It had ended before it was asked.
    Itself(ExitStatus),
    /// It ended when asked.
    Asked(ExitStatus),
    /// It did not end within the limit.
    Killed { after: Duration },
}

/// Waits until none of them runs: only then are their files and ports free.
pub(crate) async fn all_end(tree: &[Pid]) {
    let ending = async {
        while tree.iter().any(|pid| is_running(*pid)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    // SIGKILL takes effect at once; longer than this takes only a process stuck in the kernel.
    let _ = timeout(Duration::from_secs(2), ending).await;
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
