//! Instances that die and come back, one at a time, so that somebody is always there to answer.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use usher_tests::{Mesh, Sidecar};

use super::ledger::Ledger;
use crate::{
    peers::{addresses, one_worker},
    process::with_children,
    protocol::Protocol,
};

/// Instances of each service: with one of them dead, others share the load.
const INSTANCES: usize = 3;

/// Between an instance's return and the next death, milliseconds.
const PAUSE_MILLIS: std::ops::Range<u64> = 2_000..6_000;
/// From a death to the return.
const GONE_MILLIS: std::ops::Range<u64> = 500..3_000;

/// How an instance ends.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// The application crashes beside its sidecar.
    Application,
    /// Everything at once, as when a machine loses its power.
    Machine,
    /// Told to end, as in a rolling restart.
    Restart,
}

/// An application with its sidecar.
struct Replica {
    service: &'static str,
    protocol: Protocol,
    /// Of the application; kept over its deaths, as is the folder of its sidecar.
    port: u16,
    state: PathBuf,
    sidecar: Option<Sidecar>,
}

/// All of them.
pub(super) struct Replicas {
    replicas: Vec<Replica>,
    ledger: Ledger,
}

impl Replicas {
    pub(super) async fn start(mesh: &Mesh, ledger: &Ledger) -> Result<Self> {
        let services = [
            ("api", Protocol::Http1),
            ("rpc", Protocol::Grpc),
            ("stream", Protocol::Tcp),
        ];
        let mut replicas = Vec::new();
        for (service, protocol) in services {
            for number in 0..INSTANCES {
                let mut replica = Replica {
                    service,
                    protocol,
                    port: addresses::free().port(),
                    state: mesh.path(&format!("{service}-{number}")),
                    sidecar: None,
                };
                replica.start(mesh, ledger).await?;
                replicas.push(replica);
            }
        }
        let ledger = ledger.clone();
        Ok(Self { replicas, ledger })
    }

    /// One after the other, each back before the next one goes; what was done.
    pub(super) async fn kill_until(
        &mut self,
        mesh: &Mesh,
        until: Instant,
        seed: u64,
    ) -> Result<Value> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut counts = [0_u64; 3];
        loop {
            tokio::time::sleep(Duration::from_millis(random.u64(PAUSE_MILLIS))).await;
            if Instant::now() >= until {
                break;
            }
            let index = random.usize(..self.replicas.len());
            let death = [Death::Application, Death::Machine, Death::Restart];
            let (death, count) = match random.u8(..3) {
                0 => (death[0], &mut counts[0]),
                1 => (death[1], &mut counts[1]),
                _ => (death[2], &mut counts[2]),
            };
            *count += 1;
            let replica = self.replicas.get_mut(index).context("no such instance")?;
            replica.end(death).await?;
            tokio::time::sleep(Duration::from_millis(random.u64(GONE_MILLIS))).await;
            replica.start(mesh, &self.ledger).await?;
        }
        let [application, machine, restart] = counts;
        Ok(json!({ "applications": application, "machines": machine, "restarts": restart }))
    }
}

impl Replica {
    /// Until it is registered healthy.
    async fn start(&mut self, mesh: &Mesh, ledger: &Ledger) -> Result<()> {
        let own = std::env::current_exe()?;
        let protocol = self.protocol.to_possible_value();
        let protocol = protocol.context("a protocol has a name")?;
        let words = [own.as_path(), ledger.path()];
        let [own, ledger] = words.map(|path| path.display().to_string());
        let sidecar = one_worker(mesh.sidecar(self.service).port(self.port))
            .argument("--state-dir")
            .argument(self.state.display().to_string())
            .command(&[&own, "application", protocol.get_name(), &ledger]);
        std::fs::create_dir_all(&self.state)?;
        self.sidecar = Some(sidecar.start().await?);
        Ok(())
    }

    async fn end(&mut self, death: Death) -> Result<()> {
        let mut sidecar = self.sidecar.take().context("it is dead already")?;
        let proxy = sidecar.proxy_pid()?;
        let all = with_children(sidecar.process.pid())?;
        match death {
            Death::Application => {
                let parts = all.iter().skip(1).filter(|pid| **pid != proxy);
                parts.for_each(|pid| kill_now(*pid));
                sidecar.process.end(Duration::from_secs(60)).await;
            }
            Death::Machine => {
                // The one that watches the others first: it must not see them die.
                all.iter().for_each(|pid| kill_now(*pid));
                sidecar.process.end(Duration::from_secs(10)).await;
            }
            Death::Restart => {
                sidecar.process.signal(Signal::SIGTERM);
                sidecar.process.end(Duration::from_secs(60)).await;
            }
        }
        Ok(())
    }
}

fn kill_now(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
