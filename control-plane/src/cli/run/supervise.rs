//! Command and sidecar, watched until one ends; signals passed on in the right order.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    process::Child,
    signal::unix::{self, SignalKind},
    time::timeout,
};

use super::{
    Failure, Outcome, Run, exit,
    interception::Interception,
    progress::Progress,
    sidecar::{Sidecar, SidecarAddresses},
    tied,
};

/// How long callers get to hear that an instance is gone, when its command ended by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// What points programs to a proxy of their own, in every spelling that is read.
const PROXY_VARIABLES: [&str; 6] = [
    "all_proxy",
    "ALL_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
];

/// The user's command; killed when dropped.
#[derive(Debug)]
pub(super) struct Application {
    child: Child,
    name: String,
    /// Whether it shares our process group, and so has already seen a signal from the terminal.
    interactive: bool,
}

impl Application {
    pub(super) fn start(
        run: &Run,
        sidecar: &SidecarAddresses,
        interception: Option<&Interception>,
    ) -> Result<Self, Failure> {
        let (program, arguments) = run
            .command
            .split_first()
            .ok_or_else(|| Failure::new(exit::USAGE, "no command"))?;
        let outbound = sidecar.outbound.map(|outbound| outbound.to_string());
        let outbound = outbound.unwrap_or_default();
        let mut command = match interception {
            None => {
                let mut command = tied::command(program);
                command
                    .env("http_proxy", format!("http://{outbound}"))
                    .env("no_proxy", "localhost,127.0.0.1")
                    // Some libraries prefer it.
                    .env_remove("NO_PROXY");
                command
            }
            Some(interception) => {
                let mut command = interception.entering(program);
                // One of our own surroundings would be called instead of the service, and on loopback around the mesh.
                for variable in PROXY_VARIABLES {
                    command.env_remove(variable);
                }
                command
            }
        };
        command
            .args(arguments)
            .env("HOST", "127.0.0.1")
            .env("USHER_OUTBOUND", outbound)
            // Some libraries prefer it, and would call around the mesh.
            .env_remove("HTTP_PROXY")
            .kill_on_drop(true);
        if let Some(port) = run.port {
            command.env("PORT", port.to_string());
        }
        if !run.interactive {
            command.process_group(0);
            if io::IsTerminal::is_terminal(&io::stdin()) {
                // A background group that reads the terminal would be stopped, silently.
                command.stdin(Stdio::null());
            }
        }
        let name = program.to_string_lossy().into_owned();
        let child = command
            .spawn()
            .map_err(|error| not_started(&name, &error))?;
        Ok(Self {
            child,
            name,
            interactive: run.interactive,
        })
    }

    fn signal(&self, signal: Signal) {
        if self.interactive {
            if let Some(pid) = pid_of(&self.child) {
                let _ = kill(pid, signal);
            }
        } else {
            signal_group(&self.child, signal);
        }
    }

    async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        self.child
            .wait()
            .await
            .map_err(|error| Failure::of(exit::FAILED, &error))
    }

    /// Waits for its end, then kills it.
    async fn end_within(&mut self, grace: Duration) -> Result<ExitStatus, Failure> {
        match timeout(grace, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.signal(Signal::SIGKILL);
                self.ended().await
            }
        }
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.child.id() {
            Some(pid) => write!(f, "started {} (pid {pid})", self.name),
            None => write!(f, "started {}", self.name),
        }
    }
}

/// The signals that `usher run` takes instead of dying of them.
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    passed_on: [(unix::Signal, Signal); 4],
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| unix::signal(kind).map_err(|error| Failure::of(exit::FAILED, &error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            passed_on: [
                (listen(SignalKind::hangup())?, Signal::SIGHUP),
                (listen(SignalKind::quit())?, Signal::SIGQUIT),
                (listen(SignalKind::user_defined1())?, Signal::SIGUSR1),
                (listen(SignalKind::user_defined2())?, Signal::SIGUSR2),
            ],
        })
    }

    /// The next signal that means: end.
    pub(super) async fn next_stop(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.interrupt.recv() => Signal::SIGINT,
        }
    }

    async fn next(&mut self) -> Signal {
        let [(hangup, _), (quit, _), (user1, _), (user2, _)] = &mut self.passed_on;
        tokio::select! {
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = hangup.recv() => Signal::SIGHUP,
            _ = quit.recv() => Signal::SIGQUIT,
            _ = user1.recv() => Signal::SIGUSR1,
            _ = user2.recv() => Signal::SIGUSR2,
        }
    }
}

/// Watches both processes.
pub(super) struct Supervisor<'a> {
    pub(super) run: &'a Run,
    pub(super) progress: &'a Progress,
    pub(super) interception: Option<&'a Interception>,
    pub(super) signals: Signals,
}

impl Supervisor<'_> {
    /// Until one of the two ends, or a signal says so; both have ended when this returns.
    pub(super) async fn watch(
        mut self,
        mut application: Application,
        mut sidecar: Sidecar,
    ) -> Outcome {
        loop {
            let signal = tokio::select! {
                status = application.ended() => {
                    let status = status?;
                    self.progress.say(&format!("{} ended: {status}", application.name));
                    sidecar.drain(FAREWELL).await;
                    self.close().await;
                    sidecar.stop().await;
                    return Ok(exit_code(status));
                }
                failure = sidecar.fails() => {
                    self.close().await;
                    self.progress.warn("the sidecar is gone: the command ends too");
                    application.signal(Signal::SIGTERM);
                    tokio::select! {
                        ended = application.end_within(self.run.stop_grace) => ended.map(drop)?,
                        _ = self.signals.next_stop() => application.signal(Signal::SIGKILL),
                    }
                    return Err(failure);
                }
                signal = self.signals.next() => signal,
            };
            if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
                return self.end(signal, application, sidecar).await;
            }
            application.signal(signal);
        }
    }

    /// In order: nobody sends any more, the command ends, the sidecar ends. A second signal skips the waiting.
    async fn end(
        mut self,
        signal: Signal,
        mut application: Application,
        sidecar: Sidecar,
    ) -> Outcome {
        let (run, progress) = (self.run, self.progress);
        progress.say(&format!("{signal}: draining (again to end at once)"));
        let status = {
            let orderly = async {
                // The command may end by itself meanwhile; the drain still has answers to deliver.
                sidecar.drain(run.drain_grace).await;
                progress.say(&format!("drained; {} gets {signal}", application.name));
                if !application.interactive || signal != Signal::SIGINT {
                    application.signal(signal);
                }
                application.end_within(run.stop_grace).await
            };
            tokio::select! {
                status = orderly => Some(status?),
                _ = self.signals.next_stop() => None,
            }
        };
        let status = match status {
            Some(status) => status,
            None => {
                application.signal(Signal::SIGKILL);
                application.ended().await?
            }
        };
        self.close().await;
        sidecar.stop().await;
        Ok(exit_code(status))
    }

    /// Before a sidecar's port is free, or as soon as it is: whoever takes it must not get what the command has left running
    /// calls.
    async fn close(&self) {
        if let Some(interception) = self.interception {
            interception.close(*self.progress).await;
        }
    }
}

/// Sends a signal to a process and all it has started, if it is still there.
pub(super) fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = pid_of(child) {
        // It may have ended in this moment: nothing is left to tell then.
        let _ = killpg(group, signal);
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .map(Pid::from_raw)
}

/// What a shell says about a process that a signal ended.
pub(super) fn killed_by(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(exit::FAILED)
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit::FAILED)
}

/// Says that a command is missing before anything is started for it.
pub(super) fn find_command(command: &OsStr) -> Result<(), Failure> {
    let name = command.to_string_lossy();
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(command)]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .map(|directory| directory.join(command))
            .collect()
    };
    if candidates.iter().any(|path| is_executable(path)) {
        Ok(())
    } else if candidates.iter().any(|path| path.exists()) {
        Err(Failure::new(
            exit::NOT_EXECUTABLE,
            format!("{name} cannot be executed"),
        ))
    } else {
        Err(Failure::new(
            exit::NOT_FOUND,
            format!("there is no command {name}"),
        ))
    }
}

/// A shell that was asked for on a terminal, and would end at once or be mute without it.
pub(super) fn terminal_hint(run: &Run) -> Option<String> {
    let on_terminal = io::IsTerminal::is_terminal(&io::stdin());
    let is_shell = is_interactive_shell(&run.command);
    (on_terminal && is_shell && !run.interactive).then(|| {
        format!(
            "{} does not get the terminal: for an interactive shell, add -i (usher run -i ...)",
            run.what()
        )
    })
}

/// A shell without a script or a command: only flags such as `-l` follow.
fn is_interactive_shell(command: &[OsString]) -> bool {
    const SHELLS: [&str; 7] = ["ash", "bash", "dash", "fish", "ksh", "sh", "zsh"];
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| SHELLS.contains(&name))
        && arguments.iter().all(|word| {
            let word = word.to_string_lossy();
            word.starts_with('-') && !word.trim_start_matches('-').contains('c')
        })
}

pub(super) fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

pub(super) fn not_started(name: &str, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => exit::NOT_FOUND,
        io::ErrorKind::PermissionDenied => exit::NOT_EXECUTABLE,
        _ => exit::FAILED,
    };
    Failure::new(code, format!("cannot start {name}: {error}"))
}

#[cfg(test)]
mod tests;
