//! `usher tied`: becomes another program, which the kernel ends when the process that started it is gone.
//!
//! `usher run` ends its sidecar and its command, unless it is killed itself: then nobody supervises them, callers still
//! find the instance, and the next run finds its port taken. Linux can signal a child at its parent's death
//! (`PR_SET_PDEATHSIG`), but only the child itself may ask for that, and code between fork and exec is unsafe. So
//! the child is this program first. The request survives `exec`, except into a program with set-user-ID or file
//! capabilities, and no change of the user id (setpriv, su): those stay behind as before. With `--transparent` the guard
//! tells them too.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    process,
};

use clap::Args;
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getpid, getppid},
};
use tokio::process::Command;

use super::{super::Outcome, Failure, exit, supervise};

/// Become a command that gets SIGTERM when its parent ends; for `usher run`
#[derive(Debug, Args)]
pub(in super::super) struct Tied {
    /// The parent's process id
    #[arg(long)]
    to: i32,
    /// The command, after `--`
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// `program`, tied to this process. For the thread that lives as long as the process: the kernel means the thread.
pub(super) fn command(program: &OsStr) -> Command {
    // Not by its path: it may have been replaced by a newer one.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("usher")
        .args(["tied", "--to", &getpid().to_string(), "--"])
        .arg(program);
    command
}

impl Tied {
    pub(in super::super) fn execute(self) -> Outcome {
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| Failure::new(exit::USAGE, "no command"))?;
        prctl::set_pdeathsig(Signal::SIGTERM).map_err(|error| Failure::of(exit::FAILED, &error))?;
        // It may have ended before we asked.
        if getppid() != Pid::from_raw(self.to) {
            return Ok(supervise::killed_by(Signal::SIGTERM));
        }
        let error = process::Command::new(program).args(arguments).exec();
        Err(supervise::not_started(&program.to_string_lossy(), &error))
    }
}
