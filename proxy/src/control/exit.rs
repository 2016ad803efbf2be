//! How the process can end, and with which code: scripts and `usher run` tell people what to do by it.

use std::{io, net::SocketAddr, path::Path, process::ExitCode};

use serde_json::json;
use usher_config::value::{Port, ServiceName};

use super::keep_identity::chain;
use crate::{bootstrap::InvalidBootstrap, identity::AttestError, state_dir::StateDir};

/// The last words, for whoever started us and does not read our log.
const FILE: &str = "exit.json";

/// Every reason to end, but a drain that went well.
#[derive(Debug, thiserror::Error)]
pub enum Exit {
    /// The start-up settings are wrong. Code 64.
    #[error("{0}")]
    Usage(InvalidBootstrap),
    /// `--listen` is for a port that the Gateway does not have, and one that it has would be open on `--listen-ip`.
    /// Code 64.
    #[error(
        "--listen {port}=…: the Gateway {gateway} has no port {port}, allowed: {}; or, if that port is still to come, \
         a --listen for {} too",
        join(ports),
        join(others)
    )]
    NoSuchListener {
        /// Whose.
        gateway: ServiceName,
        /// As given.
        port: Port,
        /// Those that it has.
        ports: Vec<Port>,
        /// Of those: without an address of their own.
        others: Vec<Port>,
    },
    /// The control plane will not give us an identity. Code 69.
    #[error("no identity")]
    IdentityRefused(#[source] AttestError),
    /// Others reach the application without passing us. Code 78.
    #[error(
        "the application is reachable around the sidecar: something listens on {listener}, not only on loopback. \
         Make it listen on 127.0.0.1:{application}, or accept that no policy of the mesh protects it with \
         --danger-exposed-application"
    )]
    ApplicationExposed {
        /// Its listener.
        listener: SocketAddr,
        /// Its port.
        application: Port,
    },
    /// Others reach the application without passing us, since nothing hands us what they send. Code 78.
    #[error(
        "the application is reachable around the sidecar: something listens on {listener}, and no rule of this machine \
         hands connections from outside to port {application} over to this sidecar. Install them (usher-proxy intercept \
         install, port {application} not excluded, --inbound-port that of --inbound, which is on all addresses): they do \
         not outlive a reboot. Or make the application listen on 127.0.0.1:{application}, or accept that no policy of \
         the mesh protects it with --danger-exposed-application"
    )]
    NotIntercepted {
        /// Its listener.
        listener: SocketAddr,
        /// Its port.
        application: Port,
    },
    /// The kernel's list of listeners cannot be read. Code 78.
    #[error("cannot tell whether the application is reachable around the sidecar")]
    ExposureUnknown {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel hands us our own connections. Code 78.
    #[error(
        "connections of this sidecar itself are intercepted, and would come back to it for ever: it runs as uid {uid}, \
         which the rules do not exclude. Run it as the uid that they exclude (1337 by default), or install them anew: \
         usher-proxy intercept install --exclude-uid {uid}"
    )]
    InterceptsItself {
        /// Of this process.
        uid: u32,
    },
    /// A listener, directory or thread could not be had. Code 71.
    #[error("cannot {what}")]
    System {
        /// What was attempted.
        what: String,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
}

impl Exit {
    /// For `map_err` on system calls.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// For the process's end.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// Leaves `{"code", "reason"}` in the state directory. One that cannot be written was said on stderr.
    pub(super) fn leave_word(&self, state_dir: &Path) {
        let words = json!({ "code": self.number(), "reason": chain(self) });
        let _ = StateDir::open(state_dir)
            .and_then(|directory| directory.write(FILE, words.to_string().as_bytes()));
    }

    /// Takes back what an earlier run has left.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn forget_word(directory: &StateDir) -> io::Result<()> {
        directory.remove(FILE)
    }

    /// sysexits(3), where it has a fitting one.
    fn number(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoSuchListener { .. } => 64,
            Self::IdentityRefused(_) => 69,
            Self::System { .. } => 71,
            Self::ApplicationExposed { .. }
            | Self::NotIntercepted { .. }
            | Self::ExposureUnknown { .. }
            | Self::InterceptsItself { .. } => 78,
        }
    }
}

fn join(ports: &[Port]) -> String {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    ports.join(", ")
}
