//! A real etcd of one member, and a way to it that can be cut.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener as AsyncListener, TcpStream},
    task::JoinHandle,
};

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

/// A way to an address that passes bytes on until it is cut.
#[derive(Debug)]
pub struct Way {
    address: String,
    open: Arc<AtomicBool>,
    target: String,
    task: JoinHandle<()>,
}

impl Way {
    /// To there.
    pub async fn to(target: &str) -> Result<Self> {
        let listener = AsyncListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let open = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(pass(listener, target.to_owned(), open.clone()));
        let target = target.to_owned();
        Ok(Self {
            address,
            open,
            target,
            task,
        })
    }

    /// `host:port` of its beginning.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it leads.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Ends what passes, and lets nothing pass.
    pub fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// Lets connections pass again.
    pub fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(listener: AsyncListener, target: String, open: Arc<AtomicBool>) {
    while let Ok((mut from, _)) = listener.accept().await {
        let (target, open) = (target.clone(), open.clone());
        tokio::spawn(async move {
            if !open.load(Ordering::SeqCst) {
                return;
            }
            let Ok(mut to) = TcpStream::connect(&target).await else {
                return;
            };
            let closed = async {
                while open.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                _ = copy_bidirectional(&mut from, &mut to) => {}
                () = closed => {}
            }
        });
    }
}
