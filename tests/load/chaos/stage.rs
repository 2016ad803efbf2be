//! What chaos happens to: three members of etcd, three control planes, and a way between each two that can be broken.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use usher_tests::{Way, binary, run};

use super::{
    plan::{Act, EACH, Life, State},
    program::Program,
};

/// A control plane.
pub(super) struct Plane {
    program: Program,
    /// To each member of etcd.
    store: Vec<Way>,
    /// From sidecars.
    sidecars: Way,
    http: String,
    data: PathBuf,
}

/// All of it.
pub(super) struct Stage {
    folder: PathBuf,
    planes: Vec<Plane>,
    members: Vec<Program>,
    state: State,
}

/// Where a control plane is asked. Cheap to hand around, unlike what runs it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// REST.
    pub(super) http: String,
    /// For sidecars; on their side of the way.
    pub(super) grpc: String,
    /// Data directory, with the operator socket.
    pub(super) data: PathBuf,
}

/// Runs it to its end, which must be a good one; what it prints. The ways pass bytes on meanwhile.
pub(super) async fn usher<const N: usize>(words: [&str; N]) -> Result<String> {
    let words = words.map(str::to_owned);
    let ended = tokio::task::spawn_blocking(move || run(&binary("usher"), words)).await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    Ok(ended.stdout)
}

/// An address that no other program gets while its owner is down: of this process alone.
pub(super) fn free() -> Result<String> {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let ours = Ipv4Addr::new(127, high | 0x40, middle, low);
    Ok(TcpListener::bind((ours, 0))?.local_addr()?.to_string())
}

impl Stage {
    /// With a mesh of these documents.
    pub(super) async fn start(folder: &Path, documents: &[String]) -> Result<Self> {
        let (members, addresses) = members(folder)?;
        let mut stage = Self {
            folder: folder.to_owned(),
            planes: Vec::new(),
            members,
            state: State::default(),
        };
        for member in &mut stage.members {
            member.live(Life::Runs, Signal::SIGKILL).await;
        }
        for number in 0..EACH {
            let mut plane = plane(folder, number, &addresses).await?;
            plane.program.live(Life::Runs, Signal::SIGKILL).await;
            stage.planes.push(plane);
            stage.answers(number).await?;
            if number == 0 {
                stage.apply(documents).await?;
            }
        }
        Ok(stage)
    }

    /// Until a control plane answers for the first time.
    async fn answers(&mut self, number: usize) -> Result<()> {
        let file = self.door(number)?.data.join("addresses.json");
        let began = std::time::Instant::now();
        while !file.exists() {
            self.look_after();
            ensure!(
                began.elapsed().as_secs() < 60,
                "control plane {number} does not start: see {}",
                self.folder.display()
            );
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn apply(&self, documents: &[String]) -> Result<()> {
        let mesh = self.folder.join("mesh");
        std::fs::create_dir_all(&mesh)?;
        std::fs::write(mesh.join("mesh.yaml"), documents.join("---\n"))?;
        let [mesh, data] = [mesh, self.door(0)?.data].map(|path| path.display().to_string());
        usher(["apply", &mesh, "--data", &data]).await.map(drop)
    }

    pub(super) fn door(&self, number: usize) -> Result<Door> {
        let plane = self.planes.get(number).context("no such control plane")?;
        Ok(Door {
            http: plane.http.clone(),
            grpc: plane.sidecars.address().to_owned(),
            data: plane.data.clone(),
        })
    }

    /// Of all control planes.
    pub(super) fn doors(&self) -> Result<Vec<Door>> {
        (0..self.planes.len())
            .map(|number| self.door(number))
            .collect()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What has ended by itself is started again.
    pub(super) fn look_after(&mut self) {
        let planes = self.planes.iter_mut().map(|plane| &mut plane.program);
        planes
            .chain(&mut self.members)
            .for_each(Program::look_after);
    }

    /// How often control planes and members of etcd were started.
    pub(super) fn starts(&self) -> (u32, u32) {
        let planes = self.planes.iter().map(|plane| plane.program.starts()).sum();
        (planes, self.members.iter().map(Program::starts).sum())
    }

    /// Does it, all of it.
    pub(super) async fn act(&mut self, act: Act) {
        self.state = self.state.after(act);
        match act {
            Act::StopPlane(number) => self.live(number, Signal::SIGTERM).await,
            Act::KillPlane(number) | Act::FreezePlane(number) | Act::RunPlane(number) => {
                self.live(number, Signal::SIGKILL).await;
            }
            Act::Store(number, link) => {
                let ways = self.planes.get(number).map(|plane| &plane.store);
                ways.into_iter().flatten().for_each(|way| way.set(link));
            }
            Act::Sidecars(number, link) => {
                if let Some(plane) = self.planes.get(number) {
                    plane.sidecars.set(link);
                }
            }
            Act::KillMember(number) | Act::FreezeMember(number) | Act::RunMember(number) => {
                self.member(number).await;
            }
            // Nothing here changes: it is asked for from outside.
            Act::Rotate(_) => {}
            Act::MendOne(number) => self.mend(number..=number).await,
            Act::Mend => self.mend(0..=EACH - 1).await,
        }
    }

    /// All of etcd, and these control planes.
    async fn mend(&mut self, planes: RangeInclusive<usize>) {
        for number in 0..EACH {
            self.member(number).await;
        }
        for number in planes {
            self.live(number, Signal::SIGKILL).await;
            if let Some(plane) = self.planes.get(number) {
                plane.store.iter().for_each(Way::mend);
                plane.sidecars.mend();
            }
        }
    }

    /// As the state says.
    async fn live(&mut self, number: usize, signal: Signal) {
        let wanted = self.state.planes.get(number).map(|plane| plane.life);
        if let Some((plane, life)) = self.planes.get_mut(number).zip(wanted) {
            if life == Life::Dead {
                // Else whoever asks the dead one's socket would be told where the next one listens.
                let _ = std::fs::remove_file(plane.data.join("addresses.json"));
            }
            plane.program.live(life, signal).await;
        }
    }

    async fn member(&mut self, number: usize) {
        let wanted = self.state.members.get(number).copied();
        if let Some((member, life)) = self.members.get_mut(number).zip(wanted) {
            member.live(life, Signal::SIGKILL).await;
        }
    }
}

/// Not started yet, and where clients reach them.
fn members(folder: &Path) -> Result<(Vec<Program>, Vec<String>)> {
    let mut addresses = Vec::new();
    for _ in 0..EACH {
        addresses.push((free()?, free()?));
    }
    let met = addresses.iter().enumerate();
    let met = met.map(|(number, (_, peer))| format!("m{number}=http://{peer}"));
    let cluster = met.collect::<Vec<_>>().join(",");
    let members = addresses
        .iter()
        .enumerate()
        .map(|(number, (client, peer))| {
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let data = folder.join(format!("etcd-{number}")).display().to_string();
            let name = format!("m{number}");
            let words = [
                "etcd",
                "--name",
                &name,
                "--initial-cluster",
                &cluster,
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
                "--log-level",
                "warn",
                // Far more often than anybody would, so that what is forgotten is missed here.
                "--auto-compaction-retention",
                "1m",
                "--data-dir",
                &data,
            ];
            Program::new(
                words.map(str::to_owned).to_vec(),
                folder.join(format!("etcd-{number}.log")),
            )
        });
    let members = members.collect();
    Ok((
        members,
        addresses.into_iter().map(|(client, _)| client).collect(),
    ))
}

/// Not started yet.
async fn plane(folder: &Path, number: usize, members: &[String]) -> Result<Plane> {
    let mut store = Vec::new();
    for member in members {
        store.push(Way::to(member).await?);
    }
    let (grpc, http) = (free()?, free()?);
    let data = folder.join(format!("plane-{number}"));
    let ways: Vec<&str> = store.iter().map(Way::address).collect();
    let words = [
        &binary("usher").display().to_string(),
        "serve",
        "--store",
        &format!("etcd://{}", ways.join(",")),
        "--trust-domain",
        "chaos.test",
        "--listen",
        &grpc,
        "--http",
        &http,
        "--dns",
        "off",
        "--data",
        &data.display().to_string(),
    ];
    let words = words.map(str::to_owned).to_vec();
    Ok(Plane {
        program: Program::new(words, folder.join(format!("plane-{number}.log"))),
        sidecars: Way::to(&grpc).await?,
        store,
        http,
        data,
    })
}
