//! One instance of a workload: `usher run` with a sidecar and the service's process below it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::{
    client::{self, Address},
    control_plane::ControlPlane,
    layout::Layout,
    mesh_view::Breaker,
    metrics::Metrics,
    process::{Launch, Process, Stopped},
    process_table::ProcessTable,
    programs::Program,
    roster::{NAMESPACE, Wave, Workload},
};

/// One instance, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Instance {
    workload: Workload,
    name: String,
    launch: Launch,
    sidecar: PathBuf,
    port: Option<u16>,
    process: Option<Process>,
    started: Instant,
}

/// Where a sidecar listens, as it wrote it down when it had bound its ports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SidecarAddresses {
    /// `None` beside a workload that only calls.
    pub(crate) inbound: Option<SocketAddr>,
    pub(crate) outbound: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) admin: PathBuf,
}

/// The processes of an instance, for people who want to look at or kill one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pids {
    pub(crate) run: Pid,
    pub(crate) application: Option<Pid>,
    pub(crate) sidecar: Option<Pid>,
}

/// How an instance came to an unexpected end.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) name: String,
    /// `exit status: 78`, `signal: 9 (SIGKILL)`.
    pub(crate) how: String,
    /// It had done its work: exit code 0.
    pub(crate) was_success: bool,
    pub(crate) last_lines: Vec<String>,
}

impl Pids {
    /// Which of the two is not there.
    pub(crate) fn lack(self) -> Option<&'static str> {
        match (self.application, self.sidecar) {
            (_, None) => Some("its sidecar has not started"),
            (None, _) => Some("its program has not started"),
            _ => None,
        }
    }
}

impl Instance {
    /// An instance that is not started yet.
    pub(crate) fn new(
        workload: Workload,
        replica: u32,
        port: Option<u16>,
        (layout, control_plane): (&Layout, &ControlPlane),
    ) -> Self {
        let name = workload.instance(replica);
        let sidecar = layout.sidecar(&name);
        let mut launch = Launch {
            name: name.clone(),
            program: layout.program(Program::Usher),
            arguments: vec!["run".into()],
            environment: vec![("RUST_LOG".into(), "info".into())],
            log: layout.log(&name),
        };
        let mut flag = |flag: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            launch
                .arguments
                .extend([flag.into(), value.as_ref().to_owned()]);
        };
        flag("--service", &workload.service);
        flag("--namespace", &NAMESPACE);
        flag("--service-account", &workload.service);
        flag("--control-plane", &control_plane.grpc().to_string());
        flag("--data", &layout.control_plane());
        flag("--state-dir", &sidecar);
        flag("--access-log", &layout.access_log(&name));
        flag("--proxy", &layout.program(Program::UsherProxy));
        // Port 0: a sidecar can say where it listens, so it never meets a busy port.
        for listener in ["--inbound", "--outbound", "--metrics"] {
            flag(listener, &"127.0.0.1:0");
        }
        if workload.stores {
            let database = layout.database(workload.service).into_os_string();
            launch.environment.push(("DATABASE_URL".into(), database));
        }
        Self {
            workload,
            name,
            launch,
            sidecar,
            port,
            process: None,
            started: Instant::now(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn service(&self) -> &'static str {
        self.workload.service
    }

    pub(crate) fn wave(&self) -> Wave {
        self.workload.wave
    }

    /// The application's port.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn log(&self) -> &Path {
        &self.launch.log
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Changes one variable of the application's environment, from the next start on.
    pub(crate) fn configure(&mut self, name: &'static str, value: impl Into<String>) {
        self.workload = self.workload.clone().with(name, value);
    }

    /// Listens elsewhere from the next start on.
    pub(crate) fn listen_on(&mut self, port: u16) {
        self.port = Some(port);
    }

    /// Starts the sidecar and the application; does nothing when they run.
    ///
    /// # Errors
    /// When the process can't be started.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.sidecar)
            .with_context(|| format!("cannot create {}", self.sidecar.display()))?;
        // What the last sidecar wrote is not where the next one listens.
        let _ = fs::remove_file(self.addresses_file());
        let mut launch = self.launch.clone();
        if let Some(port) = self.port {
            launch
                .arguments
                .extend(["--port".into(), port.to_string().into()]);
        }
        let application = launch.program.with_file_name(self.workload.program.name());
        launch.arguments.extend(["--".into(), application.into()]);
        let own = self.workload.environment.iter();
        launch
            .environment
            .extend(own.map(|(name, value)| ((*name).to_owned(), value.into())));
        self.process = Some(launch.start()?);
        self.started = Instant::now();
        Ok(())
    }

    /// Kills sidecar and application at once, without a chance to say goodbye.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Lets it drain and end; kills it when it doesn't within `limit`. `None`: it wasn't running.
    ///
    /// # Errors
    /// When the kernel refuses a signal.
    pub(crate) async fn stop(&mut self, limit: Duration) -> anyhow::Result<Option<Stopped>> {
        match self.process.take() {
            Some(mut process) => process.stop(limit).await.map(Some),
            None => Ok(None),
        }
    }

    /// Its end, if it has come: told once.
    pub(crate) fn death(&mut self) -> Option<Death> {
        let status = self.process.as_mut()?.ended()?;
        self.process = None;
        let last_lines = crate::log_tail::last_lines(self.log(), 10);
        let (how, was_success) = (status.to_string(), status.success());
        Some(Death {
            name: self.name.clone(),
            how,
            was_success,
            last_lines,
        })
    }

    /// What it still lacks before it can do its work; `None` when it is ready.
    pub(crate) async fn lacks(&self) -> Option<&'static str> {
        let Ok(addresses) = self.addresses() else {
            return Some("its sidecar has not bound its ports");
        };
        match client::fetch(&Address::Tcp(addresses.metrics), "/ready").await {
            Ok(answer) if answer.status.is_success() => {}
            Ok(_) => return Some("its sidecar is not ready"),
            Err(_) => return Some("its sidecar does not answer"),
        }
        match self.port {
            Some(port)
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                    .await
                    .is_err() =>
            {
                Some("it does not accept connections")
            }
            Some(_) => None,
            // One that only calls shows that it is there by nothing but its process.
            None => self.pids(&ProcessTable::read())?.lack(),
        }
    }

    /// Its name in the mesh, which its sidecar made up; `None` before that, and for one that only calls.
    pub(crate) fn registered_name(&self) -> Option<String> {
        self.port?;
        fs::read_to_string(self.sidecar.join("instance")).ok()
    }

    /// Where its sidecar listens.
    ///
    /// # Errors
    /// While the sidecar has not bound its ports.
    pub(crate) fn addresses(&self) -> anyhow::Result<SidecarAddresses> {
        let path = self.addresses_file();
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("cannot understand {}", path.display()))
    }

    /// Its sidecar's metrics.
    ///
    /// # Errors
    /// While the sidecar does not answer.
    pub(crate) async fn metrics(&self) -> anyhow::Result<Metrics> {
        let answer = client::fetch(&Address::Tcp(self.addresses()?.metrics), "/metrics").await?;
        Ok(Metrics::parse(&answer.text()))
    }

    /// The breakers its sidecar holds.
    ///
    /// # Errors
    /// While the sidecar does not answer.
    pub(crate) async fn breakers(&self) -> anyhow::Result<Vec<Breaker>> {
        client::fetch(&Address::Unix(self.addresses()?.admin), "/breakers")
            .await?
            .json()
    }

    /// Its processes, found below `usher run`; `None` while it does not run.
    pub(crate) fn pids(&self, table: &ProcessTable) -> Option<Pids> {
        let run = self.process.as_ref()?.pid();
        let application = table.child(run, self.workload.program.name());
        let sidecar = table.child(run, Program::UsherProxy.name());
        Some(Pids {
            run,
            application,
            sidecar,
        })
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn addresses_file(&self) -> PathBuf {
        self.sidecar.join("addresses.json")
    }
}
