//! How the process can end, and with which code: scripts and `usher run` tell people what to do by it.

use std::{io, net::SocketAddr, process::ExitCode};

use usher_config::value::Port;

use crate::{bootstrap::InvalidBootstrap, identity::AttestError};

/// Every reason to end, but a drain that went well.
#[derive(Debug, thiserror::Error)]
pub enum Exit {
    /// The start-up settings are wrong. Code 64.
    #[error("{0}")]
    Usage(InvalidBootstrap),
    /// The control plane will not give us an identity. Code 69.
    #[error("no identity: {0}")]
    IdentityRefused(AttestError),
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
    /// The kernel's list of listeners cannot be read. Code 78.
    #[error("cannot tell whether the application is reachable around the sidecar")]
    ExposureUnknown {
        /// Why not.
        #[source]
        source: io::Error,
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

    /// sysexits(3), where it has a fitting one.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 64,
            Self::IdentityRefused(_) => 69,
            Self::System { .. } => 71,
            Self::ApplicationExposed { .. } | Self::ExposureUnknown { .. } => 78,
        })
    }
}
