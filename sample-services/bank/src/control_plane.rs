//! The control plane's process: `usher serve`, on ports that it keeps when it is started again.
//!
//! Never on the ports that `usher serve` takes by itself: a mesh of the user's own fits beside the bank.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use nix::unistd::Pid;
use serde::Deserialize;

use crate::{
    client::{self, Address, Answer},
    instance::Death,
    layout::Layout,
    log_tail::last_lines,
    mesh_view::{Complaints, Trouble},
    metrics::Metrics,
    ports::{NoFreePort, Ports, is_free},
    process::{Launch, Process, Stopped},
    programs::Program,
};

/// Its name among the bank's processes.
pub(crate) const NAME: &str = "control-plane";

/// The control plane, whether it runs or not.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    launch: Launch,
    process: Option<Process>,
    grpc: SocketAddr,
    http: SocketAddr,
}

impl ControlPlane {
    /// A control plane that is not started yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) fn new(layout: &Layout, ports: &mut Ports) -> Result<Self, NoFreePort> {
        let grpc = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.any()?));
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.any()?));
        let launch = Launch {
            name: NAME.to_owned(),
            program: layout.program(Program::Usher),
            arguments: vec![
                "serve".into(),
                "--config".into(),
                layout.configuration().into(),
                "--data".into(),
                layout.control_plane().into(),
                "--listen".into(),
                grpc.to_string().into(),
                "--http".into(),
                http.to_string().into(),
                // The bank's services are told addresses, not names.
                "--dns".into(),
                "off".into(),
            ],
            environment: vec![],
            log: layout.log(NAME),
        };
        Ok(Self {
            launch,
            process: None,
            grpc,
            http,
        })
    }

    /// Where sidecars come to.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where people look.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(Process::pid)
    }

    /// Starts it; does nothing when it runs.
    ///
    /// # Errors
    /// When the process can't be started.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_none() {
            self.process = Some(self.launch.start()?);
        }
        Ok(())
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Lets it end; kills it when it doesn't within `limit`. `None`: it wasn't running.
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
        let last_lines = last_lines(&self.launch.log, 10);
        let (how, was_success) = (status.to_string(), status.success());
        Some(Death {
            name: NAME.to_owned(),
            how,
            was_success,
            last_lines,
        })
    }

    /// Whether it answers.
    pub(crate) async fn is_ready(&self) -> bool {
        self.ask("/healthz")
            .await
            .is_ok_and(|answer| answer.status.is_success())
    }

    /// Reads from its REST interface.
    ///
    /// # Errors
    /// While it does not answer.
    pub(crate) async fn ask(&self, path: &str) -> anyhow::Result<Answer> {
        client::fetch(&Address::Tcp(self.http), path).await
    }

    /// Names of the instances that are registered and well: those that callers are sent to.
    ///
    /// # Errors
    /// While it does not answer.
    pub(crate) async fn healthy_instances(&self) -> anyhow::Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Service {
            endpoints: Vec<Endpoint>,
        }
        #[derive(Deserialize)]
        struct Endpoint {
            instance: String,
            healthy: bool,
        }
        let services: Vec<Service> = self.ask("/v1/services").await?.json()?;
        let endpoints = services.into_iter().flat_map(|service| service.endpoints);
        Ok(endpoints
            .filter(|endpoint| endpoint.healthy)
            .map(|endpoint| endpoint.instance)
            .collect())
    }

    /// What it complains about: edits it refused, and objects that do not do all they say.
    ///
    /// # Errors
    /// While it does not answer.
    pub(crate) async fn complaints(&self) -> anyhow::Result<Vec<Trouble>> {
        let complaints: Complaints = self.ask("/v1/status").await?.json()?;
        Ok(complaints.troubles())
    }

    /// Whether somebody else took one of its ports before it could bind them.
    pub(crate) fn lost_a_port(&self) -> bool {
        [self.grpc, self.http]
            .into_iter()
            .any(|address| !is_free(address.port()))
    }

    /// Its metrics.
    ///
    /// # Errors
    /// While it does not answer.
    pub(crate) async fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics::parse(&self.ask("/metrics").await?.text()))
    }
}
