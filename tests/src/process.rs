//! Programs that are stopped by process id, and whose last words are kept.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::eventually_for;

/// What a finished program said.
#[derive(Debug)]
pub struct Output {
    /// Exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run<A: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .env("NO_COLOR", "1")
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with stdout and stderr in `log`, a new file: what an earlier program left running
    /// goes on writing into its own.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let _ = std::fs::remove_file(&log);
        let file = File::create_new(&log).expect("log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("log file"))
            .stderr(file)
            .env("NO_COLOR", "1")
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it printed so far.
    pub fn printed(&self) -> String {
        std::fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// Sends it a signal; none is lost if it has just ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("pid");
        let _ = kill(Pid::from_raw(pid), signal);
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Waits for its end.
    pub async fn end(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("pid {} ends", self.child.id());
        eventually_for(limit, &what, async || self.ended()).await
    }

    /// SIGTERM, then its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.end(Duration::from_secs(30)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // SIGTERM lets `usher run` take its own children along; SIGKILL is for what does not listen.
            self.signal(Signal::SIGTERM);
            for _ in 0..200 {
                if self.ended().is_some() {
                    break;
                }
                let _ = nix::poll::poll(&mut [], 10u8);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let text = self.printed();
            let tail: Vec<_> = text.lines().rev().take(25).collect();
            eprintln!("--- end of {}", self.log.display());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
