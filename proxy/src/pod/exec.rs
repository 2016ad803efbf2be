//! `usher-proxy pod exec`: a container's command, whose end is noted.

use std::{
    ffi::OsString, io, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal as Arrivals, SignalKind, signal},
};
use usher_config::value::Name;

use super::notes::Note;

/// As shells have it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const SYSTEM: u8 = 71;

/// The command's code, once it has ended; signals are passed on to it.
pub(super) async fn exec(
    notes: &Path,
    name: &Name,
    command: &[OsString],
) -> Result<u8, (u8, String)> {
    let unnoted = |error: io::Error| {
        (
            SYSTEM,
            format!("cannot write to {}: {error}", notes.display()),
        )
    };
    let Some((program, arguments)) = command.split_first() else {
        return Ok(0);
    };
    let mut note = Note::begin(notes, name).map_err(unnoted)?;
    let mut signals = Signals::listen().map_err(|error| (SYSTEM, error.to_string()))?;
    let started = Command::new(program).args(arguments).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let code = match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            };
            note.end(code).map_err(unnoted)?;
            return Err((
                code,
                format!("cannot start {}: {error}", program.to_string_lossy()),
            ));
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = signals.next() => pass_on(&child, signal),
        }
    };
    let code = status.map_or(SYSTEM, code);
    note.end(code).map_err(unnoted)?;
    Ok(code)
}

fn pass_on(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // It may have ended in this moment: nothing is left to tell then.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(SYSTEM)
}

/// What a container's first process is told by.
struct Signals {
    terminate: Arrivals,
    interrupt: Arrivals,
    hangup: Arrivals,
    quit: Arrivals,
    user1: Arrivals,
    user2: Arrivals,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.hangup.recv() => Signal::SIGHUP,
            _ = self.quit.recv() => Signal::SIGQUIT,
            _ = self.user1.recv() => Signal::SIGUSR1,
            _ = self.user2.recv() => Signal::SIGUSR2,
        }
    }
}
