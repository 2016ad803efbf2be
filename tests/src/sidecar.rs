//! `usher run` beside an application of the test.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{Answer, Application, Client, Mesh, Process, binary, eventually};

/// What to start.
#[derive(Debug)]
pub struct SidecarBuilder<'a> {
    mesh: &'a Mesh,
    service: String,
    application: Option<u16>,
    extra: Vec<String>,
    environment: Vec<(String, String)>,
    before: Vec<String>,
    command: Vec<String>,
}

impl<'a> SidecarBuilder<'a> {
    pub(crate) fn new(mesh: &'a Mesh, service: &str) -> Self {
        Self {
            mesh,
            service: service.to_owned(),
            application: None,
            extra: Vec::new(),
            environment: Vec::new(),
            before: Vec::new(),
            command: vec!["sleep".into(), "100000".into()],
        }
    }

    /// The application it stands beside; without one the workload only calls.
    pub fn application(mut self, application: &Application) -> Self {
        self.application = Some(application.port());
        self
    }

    /// The port it stands beside, for an application that is not there yet.
    pub fn port(mut self, port: u16) -> Self {
        self.application = Some(port);
        self
    }

    /// More arguments for `usher run`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// An environment variable of `usher run`, which it hands to the proxy.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A program that becomes `usher run`, which follows as its last arguments.
    pub fn within(mut self, before: &[&str]) -> Self {
        self.before = before.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// What `usher run` runs; by default something that only waits.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it, without waiting for anything.
    pub fn spawn(self) -> Result<Sidecar> {
        let given = self
            .extra
            .iter()
            .position(|argument| argument == "--state-dir");
        let state = match given.and_then(|index| self.extra.get(index + 1)) {
            Some(state) => PathBuf::from(state),
            None => tempfile::tempdir_in(self.mesh.path("."))?.keep(),
        };
        let usher = binary("usher");
        let mut command = match self.before.split_first() {
            None => Command::new(usher),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(usher);
                command
            }
        };
        command.args(["run", "--namespace", "default", "--service", &self.service]);
        command.args(["--outbound", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
        command.arg("--data").arg(self.mesh.data());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A later one of the same name would be refused: the test's own comes instead of ours.
        let given = |name: &str| self.extra.iter().any(|argument| argument == name);
        if !given("--inbound") {
            command.args(["--inbound", "127.0.0.1:0"]);
        }
        if !given("--control-plane") {
            command.args(["--control-plane", self.mesh.grpc()]);
        }
        if !given("--state-dir") {
            command.arg("--state-dir").arg(&state);
        }
        if !given("--access-log") {
            command.arg("--access-log").arg(state.join("access.log"));
        }
        if let Some(port) = self.application {
            command.args(["--port", &port.to_string()]);
        }
        command.args(&self.extra).arg("--").args(&self.command);
        // What an earlier run of the same state directory left must not be taken for this one's.
        let _ = std::fs::remove_file(state.join("addresses.json"));
        let process = Process::start(command, state.join("run.log"));
        Ok(Sidecar {
            process,
            state,
            outbound: String::new(),
            inbound: String::new(),
            metrics: String::new(),
            tcp: Vec::new(),
        })
    }

    /// Starts it and waits until it is ready (and registered healthy, when it has an application).
    pub async fn start(self) -> Result<Sidecar> {
        let (mesh, service, serves) = (self.mesh, self.service.clone(), self.application.is_some());
        let mut sidecar = self.spawn()?;
        sidecar.bound().await?;
        let metrics = sidecar.metrics.clone();
        eventually("the sidecar is ready", async || {
            let answer = Client::direct(&metrics).get("/ready").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        if serves {
            let address = sidecar.inbound.clone();
            eventually(
                &format!("{service} at {address} is registered healthy"),
                async || {
                    let services = mesh.ask(&["services"]).ok()?;
                    healthy(&services, &address).then_some(())
                },
            )
            .await;
        }
        Ok(sidecar)
    }
}

/// Whether the list of services has a healthy endpoint at that address.
fn healthy(services: &serde_json::Value, address: &str) -> bool {
    let endpoints = |value: &serde_json::Value| {
        value.as_array().is_some_and(|list| {
            list.iter()
                .any(|endpoint| endpoint["address"] == address && endpoint["healthy"] == true)
        })
    };
    let list = services
        .as_array()
        .or_else(|| services["services"].as_array());
    list.is_some_and(|list| list.iter().any(|service| endpoints(&service["endpoints"])))
}

/// A running `usher run`; stopped when dropped.
#[derive(Debug)]
pub struct Sidecar {
    /// The process.
    pub process: Process,
    state: PathBuf,
    /// `ip:port` that the application calls.
    pub outbound: String,
    /// `ip:port` that other sidecars call.
    pub inbound: String,
    /// `ip:port` of `/metrics`, `/ready` and `/live`.
    pub metrics: String,
    /// `ip:port` of each `--tcp` listener, in the order of the arguments.
    pub tcp: Vec<String>,
}

impl Sidecar {
    /// Waits until its listeners are bound, and learns where.
    pub async fn bound(&mut self) -> Result<()> {
        let file = self.state.join("addresses.json");
        let process = &mut self.process;
        let addresses = eventually("the sidecar says where it listens", async || {
            assert!(
                process.ended().is_none(),
                "usher run ended: {}",
                process.printed()
            );
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).ok()?).ok()
        })
        .await;
        let address = |name: &str| addresses[name].as_str().unwrap_or_default().to_owned();
        (self.outbound, self.inbound, self.metrics) =
            (address("outbound"), address("inbound"), address("metrics"));
        let tcp = addresses["tcp"].as_array().into_iter().flatten();
        self.tcp = tcp
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        anyhow::ensure!(!self.outbound.is_empty(), "addresses.json: {addresses}");
        Ok(())
    }

    /// A client that calls through this sidecar, as its application would.
    pub fn client(&self) -> Client {
        Client::through(&self.outbound)
    }

    /// GET through this sidecar.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        self.client().get(url).await
    }

    /// The value of a metric, summed over the series whose line contains all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        scraped(&self.metrics, name, labels).await
    }

    /// The access log's lines so far, parsed.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.state.join("access.log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The sidecar's own folder.
    pub fn state(&self) -> &std::path::Path {
        &self.state
    }

    /// Process id of the `usher-proxy` under `usher run`.
    pub fn proxy_pid(&self) -> Result<u32> {
        let pid = self.process.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let is_proxy = |child: &&str| {
            std::fs::read_to_string(format!("/proc/{child}/comm"))
                .is_ok_and(|comm| comm.trim() == "usher-proxy")
        };
        let child = children
            .split_whitespace()
            .find(is_proxy)
            .context("no usher-proxy below usher run")?;
        Ok(child.parse()?)
    }
}

/// The value of a metric of the proxy at `ip:port`, summed over the series whose line contains all of `labels`.
pub(crate) async fn scraped(address: &str, name: &str, labels: &[&str]) -> Result<f64> {
    let text = Client::direct(address).get("/metrics").await?.text();
    let wanted = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let value = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|number| number.parse::<f64>().ok())
    };
    Ok(text.lines().filter(wanted).filter_map(value).sum())
}
