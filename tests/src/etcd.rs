//! A real etcd of one member.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{Process, binary, eventually, run, skip};

/// Stopped when dropped.
#[derive(Debug)]
pub struct Etcd {
    folder: TempDir,
    client: String,
    peer: String,
    process: Option<Process>,
}

impl Etcd {
    /// `None`, with the reason printed: there is no etcd here, or `usher` was built without it.
    pub async fn start() -> Result<Option<Self>> {
        let there = Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if there.is_err() {
            skip("there is no etcd (apt-get install etcd-server)");
            return Ok(None);
        }
        // Refused before anything else is looked at.
        let probe = [
            "serve",
            "--store",
            "etcd://127.0.0.1:1",
            "--etcd-prefix",
            "/",
        ];
        if !run(&binary("usher"), probe)
            .stderr
            .contains("--etcd-prefix")
        {
            skip("usher was built without etcd (--features usher-control-plane/etcd)");
            return Ok(None);
        }
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let ours = Ipv4Addr::new(127, high | 0x40, middle, low);
        let free =
            || -> Result<String> { Ok(TcpListener::bind((ours, 0))?.local_addr()?.to_string()) };
        let mut etcd = Self {
            folder: tempfile::tempdir()?,
            client: free()?,
            peer: free()?,
            process: None,
        };
        etcd.start_again().await;
        Ok(Some(etcd))
    }

    /// After [`Self::kill`], with all it had on disk.
    pub async fn start_again(&mut self) {
        let (client, peer) = (
            format!("http://{}", self.client),
            format!("http://{}", self.peer),
        );
        let mut command = Command::new("etcd");
        command
            .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--log-level", "error", "--data-dir"])
            .arg(self.folder.path().join("data"));
        self.process = Some(Process::start(command, self.log()));
        let address = self.client.clone();
        eventually("etcd listens", async || {
            TcpStream::connect(&address).await.ok()
        })
        .await;
    }

    /// What a machine does that loses power.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGKILL);
            process.end(Duration::from_secs(10)).await;
        }
    }

    /// `host:port` for clients.
    pub fn address(&self) -> &str {
        &self.client
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("etcd.log")
    }
}
