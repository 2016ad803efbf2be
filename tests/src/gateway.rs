//! `usher gateway` in front of the mesh of a test.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{Client, Mesh, Process, binary, eventually, sidecar::scraped};

/// A running `usher gateway`; stopped when dropped.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub process: Process,
    state: PathBuf,
    /// `ip:port` of `/metrics`, `/ready` and `/live`.
    pub metrics: String,
}

impl Gateway {
    /// Starts the Gateway `name` of the namespace `default`, each of `ports` bound somewhere on loopback, without
    /// waiting for anything.
    pub async fn spawn(mesh: &Mesh, name: &str, ports: &[u16], more: &[String]) -> Result<Self> {
        let state = tempfile::tempdir_in(mesh.path("."))?.keep();
        let mut command = Command::new(binary("usher"));
        command.args(["gateway", "--namespace", "default", "--name", name]);
        command.args(["--control-plane", mesh.grpc(), "--metrics", "127.0.0.1:0"]);
        command.arg("--data").arg(mesh.data());
        command.arg("--state-dir").arg(&state);
        command.arg("--access-log").arg(state.join("access.log"));
        for port in ports {
            command.arg("--listen").arg(format!("{port}=127.0.0.1:0"));
        }
        // Tests that stop a gateway seldom have a balancer that has to hear of it.
        if !more.iter().any(|argument| argument == "--drain-notice") {
            command.args(["--drain-notice", "0s"]);
        }
        command.args(more);
        Ok(Self {
            process: Process::start(command, state.join("run.log")),
            state,
            metrics: String::new(),
        })
    }

    /// The same, and waits until all of `ports` are listened on.
    pub async fn start(mesh: &Mesh, name: &str, ports: &[u16], more: &[String]) -> Result<Self> {
        let mut gateway = Self::spawn(mesh, name, ports, more).await?;
        for port in ports {
            gateway.bound(*port).await;
        }
        let addresses = gateway.addresses().context("it listens")?;
        gateway.metrics = addresses["metrics"].as_str().unwrap_or_default().to_owned();
        let metrics = gateway.metrics.clone();
        eventually("the gateway is ready", async || {
            let answer = Client::direct(&metrics).get("/ready").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        Ok(gateway)
    }

    fn addresses(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(self.state.join("addresses.json")).ok()?).ok()
    }

    /// `ip:port` of `/metrics`, `/ready` and `/live`, once they are there.
    pub fn metrics_address(&self) -> Option<String> {
        Some(self.addresses()?["metrics"].as_str()?.to_owned())
    }

    /// Where a port of the Gateway is bound, once it is.
    pub async fn bound(&mut self, port: u16) -> String {
        eventually(&format!("port {port} is listened on"), async || {
            assert!(
                self.process.ended().is_none(),
                "usher gateway ended: {}",
                self.process.printed()
            );
            self.address(port)
        })
        .await
    }

    /// Where a port of the Gateway is bound now.
    pub fn address(&self, port: u16) -> Option<String> {
        let addresses = self.addresses()?;
        let address = addresses["gateway"][port.to_string()].as_str()?;
        Some(address.to_owned())
    }

    /// A client that comes from outside to this port: its URLs' hosts are what it asks for.
    pub fn client(&self, port: u16) -> Client {
        Client::through(&self.address(port).expect("bound"))
    }

    /// As [`crate::Sidecar::metric`].
    ///
    /// # Errors
    /// It does not answer.
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
}
