//! A control plane that loses power amid its commits has everything that it said yes to, over and over.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use usher_tests::{Mesh, binary, eventually, run, yaml};

use crate::replicas::MESH;

/// Enough to be hit in reading, in writing, in between and after.
const KILLS: u64 = 12;

/// Applies one configuration after the other, each with another port, whether the control plane is there or not.
struct Writer {
    folder: PathBuf,
    data: PathBuf,
    /// The newest that was said yes to.
    accepted: AtomicU64,
    /// The newest that was sent.
    sent: AtomicU64,
    /// How often nobody said yes.
    failed: AtomicU64,
    is_over: AtomicBool,
}

impl Writer {
    fn run(&self) -> Result<()> {
        while !self.is_over.load(Ordering::SeqCst) {
            let number = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
            let port = u16::try_from(10_000 + number)?;
            let file = self.folder.join("api.yaml");
            std::fs::write(file, yaml::service("api", port, "http"))?;
            let arguments = ["apply", "--data"].map(PathBuf::from);
            let [apply, data] = arguments;
            let applied = run(&binary("usher"), [&apply, &self.folder, &data, &self.data]);
            match applied.code {
                Some(0) => self.accepted.store(number, Ordering::SeqCst),
                _ => drop(self.failed.fetch_add(1, Ordering::SeqCst)),
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() -> Result<()> {
    let arguments = ["--trust-domain", "test.mesh"].map(str::to_owned);
    let mut mesh = Mesh::start_on_store(&arguments, |_| Ok(())).await?;
    let folder = mesh.path("written");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("mesh.yaml"), MESH)?;
    let writer = Arc::new(Writer {
        folder,
        data: mesh.data(),
        accepted: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let writes = Arc::clone(&writer);
    let writing = tokio::task::spawn_blocking(move || writes.run());
    for kill in 0..KILLS {
        let before = writer.accepted.load(Ordering::SeqCst);
        eventually("it says yes", async || {
            (writer.accepted.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
        // Each time at another moment of the next one.
        tokio::time::sleep(Duration::from_millis(kill * 17 % 60)).await;
        mesh.kill_server();
        let failed = writer.failed.load(Ordering::SeqCst);
        eventually("nobody is there", async || {
            (writer.failed.load(Ordering::SeqCst) > failed).then_some(())
        })
        .await;
        let accepted = writer.accepted.load(Ordering::SeqCst);
        mesh.start_server().await?;
        let port = port_in_force(&mesh)?;
        ensure!(
            port >= 10_000 + accepted,
            "configuration {accepted} was acknowledged, and after kill {kill} that of {port} is in force"
        );
    }
    writer.is_over.store(true, Ordering::SeqCst);
    writing.await??;
    let last = 10_000 + writer.accepted.load(Ordering::SeqCst);
    ensure!(port_in_force(&mesh)? >= last);
    // None is missing, and none is there twice.
    let data = mesh.data().display().to_string();
    let history = run(&binary("usher"), ["history", "--json", "--data", &data]);
    let history: Value = serde_json::from_str(&history.stdout)?;
    let numbers = history.as_array().context("a list")?.iter();
    let numbers: Vec<u64> = numbers.filter_map(|one| one["number"].as_u64()).collect();
    let newest = numbers.first().copied().unwrap_or_default();
    let expected: Vec<u64> = (0..)
        .map(|back| newest - back)
        .take(numbers.len())
        .collect();
    ensure!(numbers == expected && newest >= KILLS, "{numbers:?}");
    Ok(())
}

fn port_in_force(mesh: &Mesh) -> Result<u64> {
    let services = mesh.ask(&["services"])?;
    let port = &services[0]["ports"][0];
    port.as_u64().with_context(|| format!("{services:#}"))
}
