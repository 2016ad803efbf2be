//! Which program this executable is today, and the promise that none outlives the launcher.
//!
//! The name comes from `argv[0]` (a symbolic link made by the launcher) or from the first argument
//! (`bank account`), the way busybox does it.

use std::{ffi::OsString, future::Future, path::Path, process::ExitCode};

use nix::{
    sys::{prctl, signal},
    unistd::Pid,
};

use crate::flaky;

/// Environment variable with the launcher's process id; set for everything the launcher starts.
pub(crate) const LAUNCHER_PID: &str = "BANK_LAUNCHER_PID";

/// One program inside this executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Usher,
    UsherProxy,
    Account,
    Transaction,
    FraudDetection,
    FraudRules,
    CustomerProfile,
    Notification,
    Reporting,
    Teller,
    Auditor,
    Stranger,
    FlakyRest,
    FlakyGrpc,
}

impl Program {
    /// Every program, in the order `bin/` is filled.
    pub(crate) const ALL: [Self; 14] = [
        Self::Usher,
        Self::UsherProxy,
        Self::Account,
        Self::Transaction,
        Self::FraudDetection,
        Self::FraudRules,
        Self::CustomerProfile,
        Self::Notification,
        Self::Reporting,
        Self::Teller,
        Self::Auditor,
        Self::Stranger,
        Self::FlakyRest,
        Self::FlakyGrpc,
    ];

    /// The name on the command line, in `bin/` and in `ps`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usher => "usher",
            Self::UsherProxy => "usher-proxy",
            Self::Account => "account",
            Self::Transaction => "transaction",
            Self::FraudDetection => "fraud-detection",
            Self::FraudRules => "fraud-rules",
            Self::CustomerProfile => "customer-profile",
            Self::Notification => "notification",
            Self::Reporting => "reporting",
            Self::Teller => "teller",
            Self::Auditor => "auditor",
            Self::Stranger => "stranger",
            Self::FlakyRest => "flaky-rest",
            Self::FlakyGrpc => "flaky-grpc",
        }
    }

    /// The program asked for, with its arguments (the first is its name); `None` means the launcher.
    pub(crate) fn select(arguments: &[OsString]) -> Option<(Self, Vec<OsString>)> {
        let named = |argument: &OsString| {
            let name = Path::new(argument).file_name()?;
            Self::ALL.into_iter().find(|program| name == program.name())
        };
        if let Some(program) = arguments.first().and_then(named) {
            return Some((program, arguments.to_vec()));
        }
        let program = arguments.get(1).and_then(named)?;
        Some((program, arguments.get(1..)?.to_vec()))
    }

    /// Runs the program to its end in this process.
    pub(crate) fn run(self, arguments: Vec<OsString>) -> ExitCode {
        let arguments = arguments.into_iter();
        match self {
            Self::Usher => usher_control_plane::main_with(arguments),
            Self::UsherProxy => usher_proxy::main_with(arguments),
            Self::Account => serve(self.name(), bank_account::run()),
            Self::Transaction => serve(self.name(), bank_transaction::run()),
            Self::FraudDetection => serve(self.name(), bank_fraud_detection::run()),
            Self::FraudRules => serve(self.name(), bank_fraud_rules::run()),
            Self::CustomerProfile => serve(self.name(), bank_customer_profile::run()),
            Self::Notification => serve(self.name(), bank_notification::run()),
            Self::Reporting => serve(self.name(), bank_reporting::run()),
            Self::Teller => serve(self.name(), bank_teller::run()),
            Self::Auditor | Self::Stranger => serve(self.name(), wait_for_the_end()),
            Self::FlakyRest => serve(self.name(), flaky::run_rest()),
            Self::FlakyGrpc => serve(self.name(), flaky::run_grpc()),
        }
    }
}

/// Runs a service on a runtime of its own; its error is its last log line.
fn serve(name: &str, service: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    // Two workers: a service of the sample waits for its database and its peers, and rarely computes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(service))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns on SIGTERM. All that the auditor and the stranger do: the launcher calls through their sidecars.
///
/// # Errors
/// When the kernel refuses a signal handler.
pub(crate) async fn wait_for_the_end() -> anyhow::Result<()> {
    let mut asked = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    asked.recv().await;
    Ok(())
}

/// Asks the kernel to kill this process when the one that started it ends, however it ends.
///
/// Only below the launcher. A launcher that is killed with SIGKILL can't clean up; this way nothing is
/// left behind. Done by the child for itself because a hook between fork and exec would need `unsafe`.
pub(crate) fn die_with_launcher() {
    let Some(launcher) = std::env::var(LAUNCHER_PID)
        .ok()
        .and_then(|pid| pid.parse().ok())
    else {
        return;
    };
    let asked = prctl::set_pdeathsig(signal::Signal::SIGKILL);
    // The launcher may have ended before the kernel heard of our wish: then it will never act on it.
    if asked.is_ok() && signal::kill(Pid::from_raw(launcher), None).is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests;
