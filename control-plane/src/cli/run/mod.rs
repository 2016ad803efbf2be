//! `usher run`: a process, and the sidecar beside it, as one.
//!
//! The story, in order: a state directory of our own, permission to join, the sidecar, the command with the
//! sidecar in its environment (or, with `--transparent`, its connections handed over by the kernel), and then both are
//! watched until one ends. The sidecar and the command each get
//! a process group of their own: Ctrl-C on a terminal would otherwise reach all three at once, and the
//! application would be gone before the mesh had heard that it is going.

mod cgroup;
mod elsewhere;
mod explain;
mod gateway;
mod guard;
mod interception;
mod kept;
mod permission;
mod progress;
mod ready;
mod record;
mod role;
mod sidecar;
mod standing;
mod state_directory;
mod supervise;
mod tied;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use usher_config::value::{Name, Port, parse_duration};

use super::{Failure, Outcome, exit, locate::DataDirectory};
use interception::Interception;
use permission::Permission;
use progress::Progress;
use role::Role;
use sidecar::Sidecar;
use standing::Told;
use state_directory::StateDirectory;
use supervise::Application;

pub(super) use gateway::Gateway;
pub(super) use guard::Guard;
pub(super) use tied::Tied;

/// For whoever has the command's port to take a connection: it is on this machine.
const TAKEN_WITHIN: Duration = Duration::from_millis(200);

const AFTER_HELP: &str = "\
Examples:
  usher run --service web --namespace shop --port 8080 -- python3 -m http.server --bind 127.0.0.1 8080
      an instance of `web`; a program of your own listens on $HOST:$PORT
  usher run --service worker --namespace shop -- ./worker
      a workload that only calls: http://web.shop/ from inside reaches `web`, over mutual TLS
  usher run --service web --namespace shop --port 8080 --tcp 127.0.0.1:5432=db.shop:5432 -- ./web
      port 5432 on this machine is `db`, through the mesh
  usher run --service web --namespace shop --port 8080 --control-plane 10.0.0.1:15012 \\
      --token-file token --inbound 10.0.0.7:15006 -- ./web
      on another machine, with a token made by `usher token create`
  usher run --transparent --service web --namespace shop -- setpriv --reuid web --clear-groups ./web
      as root: nothing to set in the program, it calls the address that `usher services` shows, or whomever it likes

The command's environment gets HOST=127.0.0.1, PORT (with --port), http_proxy and USHER_OUTBOUND (the sidecar),
and no_proxy=localhost,127.0.0.1. It must listen on HOST only: an application that can be reached around its
sidecar is not registered, unless --danger-exposed-application is given.

With --transparent the kernel hands over every TCP connection that the command and its processes make, except to loopback,
by an nftables table for a control group of their own; nobody else on the machine is touched, and no proxy variable is set.
It needs Linux 5.14, nftables, control groups of version 2 at /sys/fs/cgroup, and root (or CAP_NET_ADMIN and a writable
control group); the sidecar runs as the same user. Others still come in by --port as ever. A program that moves its processes to other control groups (systemd-run,
docker, su with pam_systemd), or to another network namespace (ip netns exec, unshare -n), moves them out. If usher or the sidecar
is killed, calls are refused from then on and the command gets SIGTERM, also one that is another user by now (setpriv
--pdeathsig keep is not needed). At the end all of them are killed, and table and group removed, by a guard that says what
it could not do in the state directory (interception-NUMBER.log). What a crash leaves, or systemd with KillMode=mixed when
usher is killed, the next run of the same state directory removes, or by hand `usher-proxy intercept remove`.

Ctrl-C or SIGTERM: the mesh stops sending (drain), then the command gets the signal, then the sidecar ends. The
second one ends everything at once. HUP, QUIT, USR1 and USR2 go to the command alone.

The command starts when the sidecar is ready: it has an identity that may be the service, and a configuration. Until
then `usher run` says what it waits for, and gives up after --ready-timeout. A sidecar that was in the mesh before (its
state directory knows a configuration) needs nobody: its command starts after 10 s at the latest.

Exit codes: the command's own (128+n if signal n ended it); 64 usage, 69 the control plane does not answer, refused the
token, or does not let its account run the service, 70 the sidecar failed, 71 an address or file that the sidecar needs
cannot be had (a port of --inbound, --outbound, --metrics or --tcp that is in use; what --transparent needs), 78 the application is reachable
around the sidecar, 126 the command cannot be executed, 127 there is no such command.";

/// Run a command in the mesh, with a sidecar beside it
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Run {
    /// Service that the command is an instance of
    #[arg(long, value_name = "NAME")]
    service: Name,
    /// Namespace of the service
    #[arg(long, value_name = "NS", default_value = "default")]
    namespace: Name,
    /// Port on which the command listens on 127.0.0.1; without it the command only calls others
    #[arg(long, value_name = "N")]
    port: Option<Port>,
    /// Carry a local port to a service: LOCAL=NAME.NAMESPACE:PORT, or LOCAL=NAME:PORT in --namespace (repeatable)
    #[arg(long, value_name = "LOCAL=SERVICE:PORT")]
    tcp: Vec<String>,
    /// Service account, when several may run the service
    #[arg(long, value_name = "SA", conflicts_with = "token_file")]
    service_account: Option<Name>,
    /// Control plane, HOST:PORT, several with commas between [default: the one on the data directory, else 127.0.0.1:15012]
    #[arg(long, value_name = "ADDR", env = "USHER_CONTROL_PLANE")]
    control_plane: Option<String>,
    /// File with a join token [default: ask the control plane on this machine for one]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    data: DataDirectory,
    /// Where the sidecar keeps key and SVID [default: DATA/run/NAMESPACE.SERVICE, one per instance]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Address for other sidecars [default: 127.0.0.1:0 if the control plane is on loopback, else 0.0.0.0:0]
    #[arg(long, value_name = "ADDR", value_parser = super::address)]
    inbound: Option<SocketAddr>,
    /// Address for the command's calls; loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = super::address)]
    outbound: SocketAddr,
    /// Hand every TCP connection of the command to the sidecar, by the kernel, instead of setting http_proxy; for root
    #[arg(long)]
    transparent: bool,
    /// Address of the sidecar's metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = super::address)]
    metrics: SocketAddr,
    /// Address that others are told, IP or IP:PORT [default: the sidecar finds out]
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Where this instance runs, for zone preference [default: the Workload's zone]
    #[arg(long, value_name = "NAME", value_parser = super::zone)]
    zone: Option<String>,
    /// One line for each request: a file, `-` for stdout, or off
    /// [default: `access.log` in the state directory: stdout is the command's own]
    #[arg(long, value_name = "PATH|-|off")]
    access_log: Option<String>,
    /// The sidecar's own log: a file, or `-` for stderr
    /// [default: `proxy.log` in the state directory if stderr is a terminal, else stderr]
    #[arg(long, value_name = "PATH|-")]
    proxy_log: Option<PathBuf>,
    /// The usher-proxy program [default: beside usher, else in PATH]
    #[arg(long, value_name = "PATH", env = "USHER_PROXY")]
    proxy: Option<PathBuf>,
    /// How long the sidecar may take to be ready, if it was never in the mesh before
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    ready_timeout: Duration,
    /// How long the mesh may take to stop sending, when it ends
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    drain_grace: Duration,
    /// How long the command may take to end after its signal, before it is killed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    stop_grace: Duration,
    /// Give the command the terminal; Ctrl-C then reaches it at once, while the mesh still drains
    #[arg(long, short)]
    interactive: bool,
    /// Register even if others can reach the application around the sidecar, without its protection
    #[arg(long)]
    danger_exposed_application: bool,
    /// Progress as JSON lines on stderr
    #[arg(long)]
    json: bool,
    /// Say nothing but mistakes; the sidecar logs only warnings, unless USHER_LOG says otherwise
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
    /// Of `usher gateway`, which has no command.
    #[arg(skip)]
    gateway: Option<gateway::Listening>,
}

impl Run {
    /// `program` is how this process was called: the sidecar is looked for beside it.
    pub(super) fn execute(self, program: &Path) -> Outcome {
        let Some(command) = self.command.first() else {
            return Err(Failure::new(
                exit::USAGE,
                "give the command to run, after `--`",
            ));
        };
        self.check_ports()?;
        supervise::find_command(command)?;
        let proxy = sidecar::find_proxy(self.proxy.as_deref(), program)?;
        super::block_on(self.run(&proxy))
    }

    async fn run(&self, proxy: &Path) -> Outcome {
        let progress = Progress::new(self.json, self.quiet);
        // Before anything is started: a signal from here on is never lost, and never the default death.
        let signals = supervise::Signals::listen()?;
        let state = StateDirectory::claim(self)?;
        if !self.transparent {
            return self.in_mesh(proxy, (&state, None), signals, progress).await;
        }
        let interception = Interception::prepare(proxy, self, &state).await?;
        let place = (&state, Some(&interception));
        let outcome = self.in_mesh(proxy, place, signals, progress).await;
        interception.end(progress).await;
        outcome
    }

    async fn in_mesh(
        &self,
        proxy: &Path,
        (state, interception): (&StateDirectory, Option<&Interception>),
        mut signals: supervise::Signals,
        progress: Progress,
    ) -> Outcome {
        let permission = tokio::select! {
            permission = Permission::obtain(self, state, progress) => permission?,
            signal = signals.next_stop() => return Ok(supervise::killed_by(signal)),
        };
        progress.say(&permission.to_string());
        let mut told = Told::of(self.role(), ready::last_known(state));
        let mut sidecar = Sidecar::start(proxy, self, state, &permission)?;
        let stopped = tokio::select! {
            ready = ready::wait(&mut sidecar, self, (state, &permission), progress) => ready.map(|standing| {
                told.is_kept(ready::last_known(state));
                permission.say_unused(&standing, progress);
                told.tell_notices(&standing, progress);
                None
            }),
            signal = signals.next_stop() => Ok(Some(supervise::killed_by(signal))),
        };
        match stopped {
            Ok(None) => {}
            Ok(Some(code)) => {
                sidecar.stop().await;
                return Ok(code);
            }
            Err(failure) => {
                sidecar.stop().await;
                return Err(failure);
            }
        }
        if let Some(hint) = supervise::terminal_hint(self) {
            progress.say(&hint);
        }
        // Looked at now: a moment later it may be the command.
        let taken = self.port.filter(|port| is_taken(*port));
        if let Some(port) = taken {
            progress.warn(&format!(
                "port {port} is in use, and the command has not been started yet: what is sent to {} goes to whoever has \
                 it\n  who is it? ss -ltnp 'sport = :{port}'",
                self.full_service()
            ));
        }
        told.port_is_taken(taken);
        let application = match self.start_command(&sidecar, interception, progress).await {
            Ok(application) => application,
            Err(failure) => {
                sidecar.stop().await;
                return Err(failure);
            }
        };
        progress.say(&application.to_string());
        let asking = sidecar.asking();
        let follow = async {
            match asking {
                Some(asking) => asking.follow(progress, told).await,
                None => std::future::pending().await,
            }
        };
        let keep_permission = permission.keep_fresh(self, state);
        let supervise = supervise::Supervisor {
            run: self,
            progress: &progress,
            interception,
            signals,
        }
        .watch(application, sidecar);
        tokio::select! {
            outcome = supervise => outcome,
            never = keep_permission => match never {},
            never = follow => match never {},
        }
    }

    async fn start_command(
        &self,
        sidecar: &Sidecar,
        interception: Option<&Interception>,
        progress: Progress,
    ) -> Result<Application, Failure> {
        let addresses = sidecar.addresses()?;
        if let Some(interception) = interception {
            interception.install(addresses).await?;
            progress.say(&interception.to_string());
        }
        Application::start(self, addresses, interception)
    }

    /// The sidecar cannot listen where the application does (127.0.0.1): whoever came second would find the port taken.
    fn check_ports(&self) -> Result<(), Failure> {
        if self.transparent && self.outbound.ip() != Ipv4Addr::LOCALHOST {
            let message = format!(
                "--outbound {} with --transparent: the kernel hands connections over to 127.0.0.1 (and ::1) only",
                self.outbound
            );
            return Err(Failure::new(exit::USAGE, message)
                .advise("leave --outbound out, or give 127.0.0.1:PORT"));
        }
        let Some(application) = self.port else {
            return Ok(());
        };
        let given = [
            ("inbound", self.inbound),
            ("outbound", Some(self.outbound)),
            ("metrics", Some(self.metrics)),
        ];
        let same = |address: &Option<SocketAddr>| {
            address.is_some_and(|address| {
                let overlaps = address.ip() == Ipv4Addr::LOCALHOST || address.ip().is_unspecified();
                overlaps && address.port() == application.get()
            })
        };
        match given.iter().find(|(_, address)| same(address)) {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!(
                    "--{name} and --port are both {application}: --port is where the command listens, --{name} where its sidecar does"
                );
                Err(Failure::new(exit::USAGE, message).advise(format!(
                    "give --{name} another port, or 0 for any that is free"
                )))
            }
        }
    }

    /// `namespace/service`.
    fn full_service(&self) -> String {
        format!("{}/{}", self.namespace, self.service)
    }

    fn role(&self) -> Role {
        match self.gateway {
            Some(_) => Role::Gateway,
            None => Role::Sidecar,
        }
    }

    /// The command, as people call it.
    fn what(&self) -> String {
        if self.gateway.is_some() {
            return format!("gateway {}", self.service);
        }
        let command = self.command.first().map(|word| word.to_string_lossy());
        command.unwrap_or_default().into_owned()
    }

    fn control_plane(&self) -> String {
        self.control_plane.clone().unwrap_or_else(|| {
            self.data.addresses().map_or_else(
                || "127.0.0.1:15012".to_owned(),
                |addresses| addresses.grpc.to_string(),
            )
        })
    }

    /// Any number of instances fit on one machine: ports are the system's choice unless given.
    fn inbound(&self) -> SocketAddr {
        let local = self
            .control_plane()
            .split(',')
            .filter_map(|one| one.rsplit_once(':'))
            .all(|(host, _)| is_loopback(host.trim_matches(['[', ']'])));
        let ip = if local {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        self.inbound
            .unwrap_or_else(|| SocketAddr::new(IpAddr::V4(ip), 0))
    }
}

/// Whether somebody takes connections on 127.0.0.1 already.
fn is_taken(port: Port) -> bool {
    let there = SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()));
    TcpStream::connect_timeout(&there, TAKEN_WITHIN).is_ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
