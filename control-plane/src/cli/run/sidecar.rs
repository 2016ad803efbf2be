//! The `usher-proxy` beside the command: found, started, asked, ended.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use http::Method;
use nix::sys::signal::Signal;
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use usher_config::value::format_duration;

use super::{
    super::client::Server,
    Failure, Run, exit, explain,
    permission::Permission,
    role::Role,
    standing::{Ask, Standing},
    state_directory::StateDirectory,
    supervise::{self, is_executable},
    tied,
};

/// How long the sidecar may take to bind its addresses; it needs nobody else for that.
const BIND_TIMEOUT: Duration = Duration::from_secs(15);

/// The sidecar's log filter; one that the user has set stays.
const LOG_FILTER: &str = "USHER_LOG";

/// How often the sidecar's progress is looked at.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long the sidecar may take to end once it has nothing left to do.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a running sidecar listens, as it wrote it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SidecarAddresses {
    pub(super) inbound: Option<SocketAddr>,
    /// `None`: a gateway's.
    pub(super) outbound: Option<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
    admin: PathBuf,
    /// One for each `--tcp`, in their order.
    #[serde(default)]
    tcp: Vec<SocketAddr>,
    /// A gateway's, by the Gateway's own port.
    #[serde(default)]
    pub(super) gateway: BTreeMap<u16, SocketAddr>,
}

/// A running sidecar; killed when dropped.
#[derive(Debug)]
pub(super) struct Sidecar {
    child: Child,
    role: Role,
    addresses_file: PathBuf,
    addresses: Option<SidecarAddresses>,
    log: Option<PathBuf>,
    last_words: PathBuf,
}

/// Looks for the program: as given, beside this one (by the name it was called, and by the file it is), in PATH.
pub(super) fn find_proxy(given: Option<&Path>, program: &Path) -> Result<PathBuf, Failure> {
    const NAME: &str = "usher-proxy";
    if let Some(path) = given {
        return if is_executable(path) {
            Ok(path.to_owned())
        } else {
            Err(Failure::new(
                exit::USAGE,
                format!("--proxy: {} is not a program", path.display()),
            ))
        };
    }
    let called = program
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let current = env::current_exe().ok();
    let beside = [called, current.as_deref().and_then(Path::parent)]
        .into_iter()
        .flatten();
    let in_path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = beside
        .map(Path::to_owned)
        .chain(env::split_paths(&in_path))
        .map(|directory| directory.join(NAME));
    candidates.find(|path| is_executable(path)).ok_or_else(|| {
        Failure::new(
            exit::FAILED,
            format!("{NAME} is neither beside usher nor in PATH"),
        )
        .advise("build it: cargo build --release -p usher-proxy")
        .advise("or say where it is: --proxy PATH, or USHER_PROXY")
    })
}

impl Sidecar {
    pub(super) fn start(
        program: &Path,
        run: &Run,
        state: &StateDirectory,
        permission: &Permission,
    ) -> Result<Self, Failure> {
        let addresses_file = state.file("addresses.json");
        let last_words = state.file(explain::LAST_WORDS);
        // Those of an earlier run would be believed.
        for old in [&addresses_file, &last_words] {
            match std::fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::of(exit::FAILED, &error));
                }
                _ => {}
            }
        }
        let mut command = tied::command(program.as_os_str());
        arguments(&mut command, run, (state, permission));
        if run.quiet && env::var_os(LOG_FILTER).is_none() {
            command.env(LOG_FILTER, "warn");
        }
        let log = log_path(run, state);
        command
            .stdin(Stdio::null())
            .stderr(open_log(log.as_deref())?)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| {
            let (role, program) = (run.role(), program.display());
            let message = format!("cannot start the {role} {program}: {error}");
            Failure::new(exit::FAILED, message)
        })?;
        Ok(Self {
            child,
            role: run.role(),
            addresses_file,
            addresses: None,
            log,
            last_words,
        })
    }

    /// Waits until it listens, and says where; `tcp`: what it was given as `--tcp`.
    pub(super) async fn listening(&mut self, tcp: &[String]) -> Result<String, Failure> {
        self.wait_for_addresses().await?;
        let addresses = self.addresses()?;
        let outbound = addresses
            .outbound
            .map(|outbound| format!("outbound {outbound}"));
        let inbound = addresses
            .inbound
            .map(|inbound| format!(", inbound {inbound}"));
        let metrics = addresses
            .metrics
            .map(|metrics| format!(", metrics http://{metrics}/metrics"));
        // A port that the system chose is known nowhere else.
        let tcp = addresses.tcp.iter().zip(tcp).map(|(local, given)| {
            let target = given.split_once('=').map_or("", |(_, target)| target);
            format!(", {local} to {target}")
        });
        Ok(format!(
            "{} listens: {}{}{}{}",
            self.role,
            outbound.unwrap_or_else(|| "as its Gateway says".to_owned()),
            inbound.unwrap_or_default(),
            metrics.unwrap_or_default(),
            tcp.collect::<String>()
        ))
    }

    /// # Errors
    /// It has ended; why.
    pub(super) fn must_run(&mut self) -> Result<(), Failure> {
        match self.exited()? {
            Some(status) => Err(self.explain(status)),
            None => Ok(()),
        }
    }

    /// What it says about itself; `None`: nothing.
    pub(super) async fn standing(&self) -> Option<Standing> {
        self.asking()?.standing().await
    }

    /// Where its standing can be asked for; `None`: it has not said where it listens.
    pub(super) fn asking(&self) -> Option<Ask> {
        let admin = &self.addresses.as_ref()?.admin;
        Some(Ask(Server::Unix(admin.clone())))
    }

    async fn wait_for_addresses(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            self.must_run()?;
            if let Some(addresses) = self.addresses_now() {
                self.addresses = Some(addresses);
                return Ok(());
            }
            if started.elapsed() > BIND_TIMEOUT {
                let message = format!("the {} does not listen after {BIND_TIMEOUT:?}", self.role);
                return Err(self.with_log(Failure::new(exit::FAILED, message)));
            }
            sleep(POLL_EVERY).await;
        }
    }

    /// Where it listens.
    pub(super) fn addresses(&self) -> Result<&SidecarAddresses, Failure> {
        let missing = || {
            let message = format!("the {} has not said where it listens", self.role);
            Failure::new(exit::FAILED, message)
        };
        self.addresses.as_ref().ok_or_else(missing)
    }

    /// Tells the mesh to stop sending, and waits until it has, at most `grace` and a little.
    pub(super) async fn drain(&self, grace: Duration) {
        let path = format!("/drain?grace={}", format_duration(grace));
        self.ask(Method::POST, &path, grace + QUIT_TIMEOUT).await;
    }

    /// Ends it, when the command is gone; kills it if it does not end.
    pub(super) async fn stop(mut self) {
        if self
            .ask(Method::POST, "/quit", QUIT_TIMEOUT)
            .await
            .is_none()
        {
            supervise::signal_group(&self.child, Signal::SIGTERM);
        }
        if timeout(QUIT_TIMEOUT, self.child.wait()).await.is_err() {
            supervise::signal_group(&self.child, Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }

    /// Ends it as its drain takes it; kills it if that takes much longer than `grace`.
    pub(super) async fn drain_and_stop(mut self, grace: Duration) {
        supervise::signal_group(&self.child, Signal::SIGTERM);
        if timeout(grace + QUIT_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            supervise::signal_group(&self.child, Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }

    /// Where it listens by now.
    pub(super) fn addresses_now(&self) -> Option<SidecarAddresses> {
        let text = std::fs::read(&self.addresses_file).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Waits for an end that nobody asked for, and explains it.
    pub(super) async fn fails(&mut self) -> Failure {
        match self.child.wait().await {
            Ok(status) => self.explain(status),
            Err(error) => Failure::of(exit::FAILED, &error),
        }
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child
            .try_wait()
            .map_err(|error| Failure::of(exit::FAILED, &error))
    }

    async fn ask(&self, method: Method, path: &str, limit: Duration) -> Option<bytes::Bytes> {
        let admin = Server::Unix(self.addresses.as_ref()?.admin.clone());
        admin
            .ask(method, path, bytes::Bytes::new(), limit)
            .await
            .ok()
    }

    fn explain(&self, status: ExitStatus) -> Failure {
        self.with_log(explain::ended(status, self.role, &self.last_words))
    }

    /// Shows the end of the log, unless the user has it on the screen already.
    pub(super) fn with_log(&self, failure: Failure) -> Failure {
        explain::with_log(failure, self.log.as_deref())
    }
}

/// What it is told.
fn arguments(
    command: &mut Command,
    run: &Run,
    (state, permission): (&StateDirectory, &Permission),
) {
    command
        .arg("--service")
        .arg(run.service.as_str())
        .arg("--namespace")
        .arg(run.namespace.as_str())
        .arg("--control-plane")
        .arg(run.control_plane())
        .arg("--token-file")
        .arg(permission.file())
        .arg("--state-dir")
        .arg(state.path())
        .arg("--metrics")
        .arg(run.metrics.to_string())
        .arg("--drain-grace")
        .arg(format_duration(run.drain_grace));
    match &run.gateway {
        Some(listening) => listening.arguments(command),
        None => {
            command.arg("--inbound").arg(run.inbound().to_string());
            command.arg("--outbound").arg(run.outbound.to_string());
            if run.transparent {
                command.args(["--transparent", "outbound"]);
            }
        }
    }
    let optional = [
        ("--application-port", run.port.map(|port| port.to_string())),
        (
            "--service-account",
            permission.account(run).map(str::to_owned),
        ),
        ("--advertise", run.advertise.clone()),
        ("--zone", run.zone.clone()),
        ("--access-log", Some(access_log(run, state))),
    ];
    for (flag, value) in optional {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    for tunnel in &run.tcp {
        command.arg("--tcp").arg(tunnel);
    }
    if run.danger_exposed_application {
        command.arg("--danger-exposed-application");
    }
}

/// Stdout is the command's own: whoever redirects it wants the command's output and nothing between.
fn access_log(run: &Run, state: &StateDirectory) -> String {
    let beside = || state.file("access.log").display().to_string();
    run.access_log.clone().unwrap_or_else(beside)
}

/// `None`: stderr.
fn log_path(run: &Run, state: &StateDirectory) -> Option<PathBuf> {
    match &run.proxy_log {
        Some(path) if path.as_os_str() == "-" => None,
        Some(path) => Some(path.clone()),
        None if io::IsTerminal::is_terminal(&io::stderr()) => Some(state.file("proxy.log")),
        None => None,
    }
}

fn open_log(path: Option<&Path>) -> Result<Stdio, Failure> {
    let Some(path) = path else {
        return Ok(Stdio::inherit());
    };
    // The run before this one stays readable, the one before that does not: a bound without a rotation. A device
    // or a pipe is somebody else's: as root, /dev/null itself would be renamed.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        let _ = std::fs::rename(path, path.with_extension("log.1"));
    }
    File::create(path).map(Stdio::from).map_err(|error| {
        Failure::new(
            exit::FAILED,
            format!("cannot write the sidecar's log {}: {error}", path.display()),
        )
    })
}
