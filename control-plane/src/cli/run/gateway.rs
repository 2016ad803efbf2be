//! `usher gateway`: the mesh's door, one process of it.
//!
//! The story is that of `usher run` without a command: a state directory, permission to join, the proxy in its other
//! role, and then it is watched until a signal ends it. Listeners and routes come from the Gateway; certificates, whose
//! keys are nowhere in configuration, from files that this process names.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::{process::Command, time::sleep};
use usher_config::value::{Name, format_duration, parse_duration};

use super::{
    super::locate::DataDirectory, Outcome, Run, permission::Permission, progress::Progress, ready,
    sidecar, sidecar::Sidecar, sidecar::SidecarAddresses, standing::Told,
    state_directory::StateDirectory, supervise,
};

const AFTER_HELP: &str = "\
Examples:
  usher gateway --name edge --namespace shop --certificate web=tls.crt,tls.key
      the Gateway shop/edge on its own ports, on all addresses
  usher gateway --name edge --namespace shop --listen 443=0.0.0.0:8443 --listen 80=0.0.0.0:8080
      without the right to bind ports below 1024
  usher gateway --name edge --namespace shop --control-plane 10.0.0.1:15012 --token-file token
      on another machine, with a token made by `usher token create`

A Gateway is run by the Workload of its name: its serviceAccount is the identity that services behind the gateway see.
Any number of processes may run one Gateway.

NAME in --certificate is the name in the listener's certificateRefs, with NS/ before it if that names another namespace.
CERT is a chain in PEM, the server's own certificate first; KEY its key in PEM, readable by its owner only (chmod 600), or
by a group of this process. Both are read again when they change.

/ready answers 200 once every port of the Gateway is listened on and every TLS listener has a certificate; until then it
answers 503 and says which one lacks what.

Ctrl-C or SIGTERM: /ready answers 503, for --drain-notice everything else goes on as ever, then callers are asked to go
elsewhere, what is under way finishes (drain), and the gateway ends. The second one ends it at once.

Exit codes: 0 ended by a signal, 64 usage, 69 the control plane does not answer, refused the token, or does not let its
account run the gateway, 70 the gateway failed, 71 a certificate or an address cannot be had.";

/// Run a gateway: let the outside world into the mesh
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in super::super) struct Gateway {
    /// The Gateway, and the Workload that runs it
    #[arg(long, value_name = "NAME")]
    name: Name,
    /// Namespace of both
    #[arg(long, value_name = "NS", default_value = "default")]
    namespace: Name,
    #[command(flatten)]
    listening: Listening,
    /// Service account, when several may run the gateway
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
    /// Where the gateway keeps key and SVID [default: DATA/run/NAMESPACE.NAME, one per instance]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Address of the gateway's metrics, /ready and /live
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = super::super::address)]
    metrics: SocketAddr,
    /// Where this process runs, for zone preference [default: the Workload's zone]
    #[arg(long, value_name = "NAME", value_parser = super::super::zone)]
    zone: Option<String>,
    /// One line for each request: a file, `-` for stdout, or off
    #[arg(long, value_name = "PATH|-|off", default_value = "-")]
    access_log: String,
    /// The proxy's own log: a file, or `-` for stderr
    #[arg(long, value_name = "PATH|-", default_value = "-")]
    proxy_log: PathBuf,
    /// The usher-proxy program [default: beside usher, else in PATH]
    #[arg(long, value_name = "PATH", env = "USHER_PROXY")]
    proxy: Option<PathBuf>,
    /// How long the gateway may take to be ready, if it was never in the mesh before
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    ready_timeout: Duration,
    /// How long requests under way may take to finish, when it ends
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    drain_grace: Duration,
    /// Progress as JSON lines on stderr
    #[arg(long)]
    json: bool,
    /// Say nothing but mistakes; the proxy logs only warnings, unless USHER_LOG says otherwise
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

/// What only gateways are told.
#[derive(Debug, Clone, Args)]
pub(super) struct Listening {
    /// Where listeners bind
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    listen_ip: IpAddr,
    /// Bind ADDR:PORT for a port of the Gateway: PORT=ADDR:PORT (repeatable)
    #[arg(long, value_name = "PORT=ADDR:PORT")]
    listen: Vec<String>,
    /// PEM files for the name of a certificateRef: NAME=CERT,KEY (repeatable)
    #[arg(long, value_name = "[NS/]NAME=CERT,KEY")]
    certificate: Vec<String>,
    /// How many proxies before the gateway are believed in X-Forwarded-For and X-Forwarded-Proto; they must write both
    /// themselves
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    trusted_hops: u8,
    /// How long it goes on as ever once /ready answers 503, a part of --drain-grace [default: half of it]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    drain_notice: Option<Duration>,
}

impl Listening {
    /// As the proxy is told.
    pub(super) fn arguments(&self, command: &mut Command) {
        command.arg("--gateway");
        command.arg("--listen-ip").arg(self.listen_ip.to_string());
        for listen in &self.listen {
            command.arg("--listen").arg(listen);
        }
        for certificate in &self.certificate {
            command.arg("--certificate").arg(certificate);
        }
        command
            .arg("--trusted-hops")
            .arg(self.trusted_hops.to_string());
        if let Some(notice) = self.drain_notice {
            command.arg("--drain-notice").arg(format_duration(notice));
        }
    }
}

impl Gateway {
    /// `program` is how this process was called: the proxy is looked for beside it.
    pub(in super::super) fn execute(self, program: &Path) -> Outcome {
        let proxy = sidecar::find_proxy(self.proxy.as_deref(), program)?;
        super::super::block_on(serve(&self.into_run(), &proxy))
    }

    /// The same as of a run that has no command.
    fn into_run(self) -> Run {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Run {
            service: self.name,
            namespace: self.namespace,
            port: None,
            tcp: Vec::new(),
            service_account: self.service_account,
            control_plane: self.control_plane,
            token_file: self.token_file,
            data: self.data,
            state_dir: self.state_dir,
            inbound: None,
            outbound: nowhere,
            transparent: false,
            metrics: self.metrics,
            advertise: None,
            zone: self.zone,
            access_log: Some(self.access_log),
            proxy_log: Some(self.proxy_log),
            proxy: self.proxy,
            ready_timeout: self.ready_timeout,
            drain_grace: self.drain_grace,
            stop_grace: Duration::ZERO,
            interactive: false,
            danger_exposed_application: false,
            json: self.json,
            quiet: self.quiet,
            command: Vec::new(),
            gateway: Some(self.listening),
        }
    }
}

async fn serve(run: &Run, proxy: &Path) -> Outcome {
    let progress = Progress::new(run.json, run.quiet);
    // Before anything is started: a signal from here on is never lost, and never the default death.
    let mut signals = supervise::Signals::listen()?;
    let state = StateDirectory::claim(run)?;
    let permission = tokio::select! {
        permission = Permission::obtain(run, &state, progress) => permission?,
        signal = signals.next_stop() => return Ok(supervise::killed_by(signal)),
    };
    progress.say(&permission.to_string());
    let mut told = Told::of(run.role(), ready::last_known(&state));
    let mut sidecar = Sidecar::start(proxy, run, &state, &permission)?;
    let ready = tokio::select! {
        ready = ready::wait(&mut sidecar, run, (&state, &permission), progress) => ready,
        signal = signals.next_stop() => {
            sidecar.stop().await;
            return Ok(supervise::killed_by(signal));
        }
    };
    match ready {
        Ok(standing) => {
            told.is_kept(ready::last_known(&state));
            permission.say_unused(&standing, progress);
            told.tell_notices(&standing, progress);
        }
        Err(failure) => {
            sidecar.stop().await;
            return Err(failure);
        }
    }
    let asking = sidecar.asking();
    let follow = async {
        match asking {
            Some(asking) => asking.follow(progress, told).await,
            None => std::future::pending().await,
        }
    };
    let listeners = tell_listeners(&state, progress);
    let keep_permission = permission.keep_fresh(run, &state);
    tokio::select! {
        signal = signals.next_stop() => {
            progress.say(&format!("{signal}: draining (again to end at once)"));
        }
        failure = sidecar.fails() => return Err(failure),
        never = keep_permission => match never {},
        never = follow => match never {},
        never = listeners => match never {},
    }
    tokio::select! {
        () = sidecar.drain_and_stop(run.drain_grace) => {}
        _ = signals.next_stop() => {}
    }
    Ok(super::exit::OK)
}

/// How soon people hear of a listener.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Says where the gateway listens, whenever that changes.
async fn tell_listeners(state: &StateDirectory, progress: Progress) -> Infallible {
    let mut told = std::collections::BTreeMap::new();
    loop {
        let text = std::fs::read(state.file("addresses.json")).ok();
        let now = text.and_then(|text| serde_json::from_slice::<SidecarAddresses>(&text).ok());
        if let Some(now) = now
            .map(|addresses| addresses.gateway)
            .filter(|now| *now != told)
        {
            for (port, address) in now.iter().filter(|(port, _)| !told.contains_key(*port)) {
                progress.say(&format!("port {port} of the Gateway: {address}"));
            }
            for port in told.keys().filter(|port| !now.contains_key(port)) {
                progress.say(&format!("port {port} of the Gateway: closed"));
            }
            told = now;
        }
        sleep(LOOK_EVERY).await;
    }
}
