//! The command line of `usher-proxy wait`, `drain` and `pod`.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use usher_config::value::{InvalidValue, Name, parse_duration};

use super::{door, exec::exec};

/// The words that `usher-proxy` hands over at.
const VERBS: [&str; 3] = ["wait", "drain", "pod"];

/// Whether the first argument is one of them.
pub fn is_ours(first: &OsStr) -> bool {
    VERBS.iter().any(|verb| first == *verb)
}

/// Nobody answered.
const UNAVAILABLE: u8 = 69;
/// The operating system said no.
const SYSTEM: u8 = 71;

#[derive(Debug, Parser)]
#[command(
    name = "usher-proxy",
    bin_name = "usher-proxy",
    about = "What a pod asks of its sidecar; usher inject writes all of these",
    after_help = "\
Exit codes: 0 done, 64 usage, 69 no sidecar answers, 71 a file cannot be written; of pod exec the command's own, 126 it
cannot be executed, 127 there is none."
)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Wait until the sidecar is ready, for a postStart hook: what starts afterwards can call others
    Wait {
        /// Its --metrics
        #[arg(
            long,
            value_name = "ADDR:PORT",
            env = "USHER_PROXY_METRICS",
            default_value = "127.0.0.1:15020"
        )]
        metrics: SocketAddr,
        /// The longest to wait
        #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
        timeout: Duration,
    },
    /// Have the sidecar leave the mesh, for a preStop hook: callers go elsewhere, their requests end, then this ends. Its
    /// application can go on calling others
    Drain(Drain),
    /// For containers beside the sidecar
    Pod {
        #[command(subcommand)]
        verb: PodVerb,
    },
}

#[derive(Debug, Args)]
struct Drain {
    /// Its --admin-socket [default: admin.sock in its --state-dir]
    #[arg(long, value_name = "PATH", env = "USHER_PROXY_ADMIN_SOCKET")]
    admin_socket: Option<PathBuf>,
    /// Its --state-dir
    #[arg(
        long,
        value_name = "PATH",
        env = "USHER_PROXY_STATE_DIR",
        required_unless_present = "admin_socket"
    )]
    state_dir: Option<PathBuf>,
    /// The longest that it waits [default: its --drain-grace]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
}

#[derive(Debug, Subcommand)]
enum PodVerb {
    /// Copy this program, so that containers of other images can run it
    Copy {
        /// Where to, with its name
        to: PathBuf,
    },
    /// Run a command and note how it ended, for the sidecar's --ends-with
    Exec {
        /// The directory of notes
        notes: PathBuf,
        /// This container's name
        name: Name,
        /// The command, after `--`
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
}

fn duration(text: &str) -> Result<Duration, InvalidValue> {
    parse_duration(text)
}

/// Runs the command; `arguments` with the program's name.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(usage) => {
            // Nobody is left to tell when even this cannot be written.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { 64 } else { 0 });
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(execute(command.verb)),
        Err(error) => Err((SYSTEM, error.to_string())),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err((code, message)) => {
            let _ = writeln!(io::stderr(), "usher-proxy: {message}");
            ExitCode::from(code)
        }
    }
}

/// The code to exit with, or with which words.
async fn execute(verb: Verb) -> Result<u8, (u8, String)> {
    let unavailable = |message| (UNAVAILABLE, message);
    match verb {
        Verb::Wait { metrics, timeout } => {
            let ready = door::ready(metrics, timeout).await;
            ready.map(|()| 0).map_err(unavailable)
        }
        Verb::Drain(drain) => {
            let socket = drain
                .admin_socket
                .or_else(|| Some(drain.state_dir?.join("admin.sock")));
            let socket = socket.unwrap_or_default();
            let drained = door::drain(&socket, drain.grace.as_deref()).await;
            drained.map(|()| 0).map_err(unavailable)
        }
        Verb::Pod {
            verb: PodVerb::Copy { to },
        } => {
            let failed =
                |error: io::Error| (SYSTEM, format!("cannot write {}: {error}", to.display()));
            copy(&to).map(|()| 0).map_err(failed)
        }
        Verb::Pod {
            verb:
                PodVerb::Exec {
                    notes,
                    name,
                    command,
                },
        } => exec(&notes, &name, &command).await,
    }
}

/// Whole or not at all.
fn copy(to: &Path) -> io::Result<()> {
    let mut beside = to.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::copy(std::env::current_exe()?, &beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
    fs::rename(beside, to)
}
