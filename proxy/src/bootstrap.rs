//! What this sidecar is told at start: flags, then environment, then the file of `--bootstrap`; typed, all mistakes
//! at once.
//!
//! One table, [`SETTINGS`], names everything; `--drain-grace`, `USHER_PROXY_DRAIN_GRACE` and `drainGrace` are one
//! setting by construction. The first layer that has a setting wins. Nothing else is read from the environment.

mod layers;
mod probes;
mod read;
mod token_files;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use usher_config::{
    model::ServiceTarget,
    value::{CertificateName, Name, Port, ServiceName},
};

pub use layers::{Environment, Source};
pub use probes::{Probe, Probes, Question};
pub use token_files::TokenFiles;

/// Everything the sidecar needs to know before it knows the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Whose sidecar this is.
    pub service: ServiceName,
    /// Unique in the service. Default `None`: random, kept in the state directory.
    pub instance: Option<Name>,
    /// `host:port` of the control plane's gRPC, of each of them with commas between. Default 127.0.0.1:15012.
    pub control_plane: String,
    /// Where a join token is, or a service account's token of Kubernetes; read at every attestation. Needed unless the state
    /// directory has an SVID.
    pub token_file: Option<PathBuf>,
    /// The mesh's roots, PEM: whom a service account's token may be shown to. A join token says that itself.
    pub root_file: Option<PathBuf>,
    /// Whose SVID the one in the state directory, or the one that the token gets, must be. Default `None`: any account's of the namespace.
    pub service_account: Option<Name>,
    /// Key, SVID, last good configuration, addresses.
    pub state_dir: PathBuf,
    /// The application on 127.0.0.1. `None`: the workload only calls, and registers nothing.
    pub application_port: Option<Port>,
    /// Mesh → application. Default 0.0.0.0:15006.
    pub inbound: SocketAddr,
    /// Where other sidecars reach `inbound`. Default `None`: its address if specific, else the local address of the
    /// connection to the control plane.
    pub advertise: Option<Advertise>,
    /// Application → mesh. Default 127.0.0.1:15001; loopback only, because whoever reaches it acts as this workload.
    pub outbound: SocketAddr,
    /// `/metrics`, `/ready`, `/live`. Default 127.0.0.1:15020.
    pub metrics: SocketAddr,
    /// Unix socket for operators. Default `<state-dir>/admin.sock`.
    pub admin_socket: PathBuf,
    /// Local listeners for opaque TCP.
    pub tcp: Vec<TcpForward>,
    /// Threads that carry traffic. Default: CPUs that this process may use.
    pub workers: NonZeroUsize,
    /// The longest that a drain waits for streams. Default 10 s.
    pub drain_grace: Duration,
    /// Where access log lines go. Default stdout.
    pub access_log: AccessLogTarget,
    /// Where this instance runs, for zone preference. Default empty.
    pub zone: String,
    /// The kernel hands over the application's connections (`usher-proxy intercept install`), and how those from
    /// outside come; `None`: explicit calls only.
    pub transparent: Option<Transparent>,
    /// Be the Gateway of our name instead of a sidecar. Default `None`: a sidecar.
    pub gateway: Option<GatewayRole>,
    /// Register although others can reach the application around the sidecar, and its policies.
    pub danger_exposed_application: bool,
    /// What `/probe` and `/hook` on the metrics port ask of the application. Default: nothing.
    pub probes: Probes,
    /// End when these containers of the pod have. Default `None`: when told to.
    pub ends_with: Option<EndsWith>,
}

/// `DIR,never|on-failure,NAME,...`: containers that run below `usher-proxy pod exec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndsWith {
    /// Where they note how they ended.
    pub notes: PathBuf,
    /// Whether one that failed starts again.
    pub again: Again,
    /// All that are waited for.
    pub containers: Vec<Name>,
}

/// The pod's `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// What has ended has ended.
    Never,
    /// What failed starts again.
    OnFailure,
}

/// How the kernel hands over connections from outside. Those of the application are always redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transparent {
    /// Their destination is rewritten, and asked of the kernel.
    Redirect,
    /// As they are: the inbound listener answers for addresses that are not its own, which needs CAP_NET_ADMIN.
    Tproxy,
    /// Not at all: other sidecars call ours, and the application listens on loopback only.
    OutboundOnly,
}

impl Bootstrap {
    /// Whether the kernel hands over what comes from outside.
    pub fn intercepts_inbound(&self) -> bool {
        match self.transparent {
            Some(Transparent::Redirect | Transparent::Tproxy) => true,
            Some(Transparent::OutboundOnly) | None => false,
        }
    }
}

/// What only a gateway process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRole {
    /// Where its listeners bind. Default 0.0.0.0: a gateway is for the outside world.
    pub listen_ip: IpAddr,
    /// Ports of the Gateway that are bound elsewhere: an unprivileged port for 443, or several addresses' own.
    pub listen: Vec<(Port, SocketAddr)>,
    /// What `certificateRefs` name.
    pub certificates: Vec<CertificateFiles>,
    /// How many proxies before it are believed in `X-Forwarded-For`, and the last of them in `X-Forwarded-Proto`: they
    /// have to write both themselves. Default 0: whoever connects is the caller.
    pub trusted_hops: u8,
    /// How long it goes on as ever after `/ready` has turned 503, so that balancers see that before connections are
    /// refused; part of `drain_grace`, of which it is half by default.
    pub drain_notice: Duration,
}

/// `[NS/]NAME=CERT,KEY`: PEM files, looked at again every second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// As `certificateRefs` have it; `namespace/name` where that is not the Gateway's own.
    pub name: CertificateName,
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its key; nobody but its owner may read the file.
    pub key: PathBuf,
}

/// `IP[:PORT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertise {
    /// Where other sidecars connect to.
    pub ip: IpAddr,
    /// `None`: the port that the inbound listener got.
    pub port: Option<Port>,
}

/// `LOCAL=NAME.NAMESPACE:PORT`: bytes to `local` go to that port of the service. Without a namespace it is our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpForward {
    /// Loopback only, as `outbound`.
    pub local: SocketAddr,
    /// Where they go.
    pub target: ServiceTarget,
}

/// Where access log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// One setting, in all its spellings.
#[derive(Debug)]
pub struct Setting {
    /// As a flag, without the dashes.
    pub name: &'static str,
    /// What its value looks like; empty: it takes none.
    pub value: &'static str,
    /// For `--help`.
    pub help: &'static str,
}

/// All settings, in the order of `--help`.
pub const SETTINGS: [Setting; 29] = [
    Setting {
        name: "service",
        value: "NAME",
        help: "Service whose sidecar this is",
    },
    Setting {
        name: "namespace",
        value: "NAMESPACE",
        help: "Namespace of the service",
    },
    Setting {
        name: "instance",
        value: "NAME",
        help: "Instance name [default: random, kept in the state directory]",
    },
    Setting {
        name: "control-plane",
        value: "HOST:PORT[,...]",
        help: "gRPC address of the control plane, or of each of several [default: 127.0.0.1:15012]",
    },
    Setting {
        name: "token-file",
        value: "PATH",
        help: "Join token, or a service account's token; needed until the state directory has an identity",
    },
    Setting {
        name: "root-file",
        value: "PATH",
        help: "Roots of the mesh, PEM: whom a service account's token may be shown to",
    },
    Setting {
        name: "service-account",
        value: "NAME",
        help: "Be this account: a kept identity of another is ignored, a token for another refused [default: anyone's]",
    },
    Setting {
        name: "state-dir",
        value: "PATH",
        help: "Key, identity and last good configuration",
    },
    Setting {
        name: "application-port",
        value: "PORT",
        help: "The application on 127.0.0.1 [default: none, the workload only calls]",
    },
    Setting {
        name: "inbound",
        value: "ADDR:PORT",
        help: "Listener for other sidecars [default: 0.0.0.0:15006]",
    },
    Setting {
        name: "advertise",
        value: "IP[:PORT]",
        help: "Where other sidecars reach the inbound listener [default: found out]",
    },
    Setting {
        name: "outbound",
        value: "ADDR:PORT",
        help: "Listener for the application, loopback only [default: 127.0.0.1:15001]",
    },
    Setting {
        name: "metrics",
        value: "ADDR:PORT",
        help: "Listener for /metrics, /ready and /live [default: 127.0.0.1:15020]",
    },
    Setting {
        name: "admin-socket",
        value: "PATH",
        help: "Unix socket for operators [default: <state-dir>/admin.sock]",
    },
    Setting {
        name: "tcp",
        value: "LOCAL=SERVICE:PORT",
        help: "Local listener for opaque TCP, SERVICE as name.namespace or name; repeatable",
    },
    Setting {
        name: "workers",
        value: "N",
        help: "Threads that carry traffic [default: CPUs available]",
    },
    Setting {
        name: "drain-grace",
        value: "DURATION",
        help: "The longest that a drain waits [default: 10s]",
    },
    Setting {
        name: "access-log",
        value: "PATH|-|off",
        help: "Access log: file, stdout or none [default: -]",
    },
    Setting {
        name: "zone",
        value: "ZONE",
        help: "Where this instance runs",
    },
    Setting {
        name: "transparent",
        value: "redirect|tproxy|outbound",
        help: "The kernel hands over connections, by the rules of usher-proxy intercept install",
    },
    Setting {
        name: "danger-exposed-application",
        value: "",
        help: "Register although the application is reachable around the sidecar",
    },
    Setting {
        name: "gateway",
        value: "",
        help: "Be the Gateway named by --service and --namespace, instead of a sidecar",
    },
    Setting {
        name: "listen-ip",
        value: "IP",
        help: "Gateway: where its listeners bind [default: 0.0.0.0]",
    },
    Setting {
        name: "listen",
        value: "PORT=ADDR:PORT",
        help: "Gateway: bind this for a port of the Gateway, such as 443=0.0.0.0:8443; repeatable",
    },
    Setting {
        name: "certificate",
        value: "[NS/]NAME=CERT,KEY",
        help: "Gateway: PEM files for a certificateRef's name, read again when they change; repeatable",
    },
    Setting {
        name: "trusted-hops",
        value: "N",
        help: "Gateway: how many proxies before it are believed in X-Forwarded-For and X-Forwarded-Proto, which they must write themselves [default: 0]",
    },
    Setting {
        name: "drain-notice",
        value: "DURATION",
        help: "Gateway: how long it goes on as ever after /ready has turned 503 [default: half of drain-grace]",
    },
    Setting {
        name: "probes",
        value: "JSON",
        help: "What /probe/NAME and /hook/NAME on the metrics port ask of the application; written by usher inject",
    },
    Setting {
        name: "ends-with",
        value: "DIR,never|on-failure,NAME,...",
        help: "End when these containers have, as usher-proxy pod exec notes in DIR; written by usher inject",
    },
];

/// One thing that is wrong with the start-up settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written.
    pub source: Source,
    /// What was found and what is allowed.
    pub message: String,
}

/// Why the sidecar does not start. Lists everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidBootstrap {
    /// In the order of [`SETTINGS`].
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for InvalidBootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { source, message }) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{source}: {message}")?;
        }
        Ok(())
    }
}

/// How reading the arguments can end without a [`Bootstrap`].
#[derive(Debug)]
pub enum Stop {
    /// `--help`, `--version` or an unknown argument: clap's own text.
    Usage(Box<clap::Error>),
    /// The settings are wrong.
    Invalid(InvalidBootstrap),
}

impl Bootstrap {
    /// How long a gateway goes on as ever once it is to leave; `None`: this is a sidecar.
    pub fn drain_notice(&self) -> Option<Duration> {
        self.gateway.as_ref().map(|role| role.drain_notice)
    }

    /// Reads `arguments` (program name first), the environment, and the bootstrap file that they name.
    ///
    /// # Errors
    /// [`Stop::Usage`] for `--help` and for arguments that are no settings, else everything that is wrong at once.
    pub fn read<I, A>(arguments: I, environment: &Environment) -> Result<Self, Stop>
    where
        I: IntoIterator<Item = A>,
        A: Into<std::ffi::OsString> + Clone,
    {
        let (layers, mistakes) =
            layers::Layers::read(arguments, environment).map_err(Stop::Usage)?;
        read::bootstrap(&layers, mistakes).map_err(Stop::Invalid)
    }
}

#[cfg(test)]
mod tests;
