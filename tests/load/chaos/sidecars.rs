//! The proxies whose traffic must not notice: two that only call, two instances that answer, and one whose identity the
//! registrations of the writer have.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use usher_tests::{Client, Process, binary, eventually_for};

use super::stage::{Door, free, usher};

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// A running `usher run`.
pub(super) struct Sidecar {
    pub(super) name: String,
    pub(super) outbound: String,
    pub(super) state: PathBuf,
    metrics: String,
    process: Process,
}

impl Sidecar {
    /// Ready, and registered healthy if it has an application.
    pub(super) async fn start(
        folder: &Path,
        doors: &[Door],
        (service, number): (&str, usize),
        application: Option<&[String]>,
    ) -> Result<Self> {
        let name = format!("{service}-{number}");
        let state = folder.join(&name);
        std::fs::create_dir_all(&state)?;
        let planes: Vec<&str> = doors.iter().map(|door| door.grpc.as_str()).collect();
        let mut words = vec!["run", "--namespace", "default", "--service", service];
        for listener in ["--inbound", "--outbound", "--metrics"] {
            words.extend([listener, "127.0.0.1:0"]);
        }
        let planes = planes.join(",");
        let door = doors.first().context("no control plane")?;
        let token = token(door, folder, service).await?.display().to_string();
        let [state_dir, log] =
            ["", "access.log"].map(|name| state.join(name).display().to_string());
        words.extend(["--control-plane", &planes, "--token-file", &token]);
        words.extend(["--state-dir", &state_dir, "--access-log", &log]);
        let port = free()?
            .rsplit_once(':')
            .map_or_else(String::new, |(_, port)| port.to_owned());
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        match application {
            Some(command) => {
                words.extend(["--port".to_owned(), port, "--".to_owned()]);
                words.extend_from_slice(command);
            }
            None => words.extend(["--", "sleep", "1000000"].map(str::to_owned)),
        }
        let mut command = std::process::Command::new(binary("usher"));
        command.args(&words);
        let mut process = Process::start(command, folder.join(format!("{name}.log")));
        let addresses = eventually_for(START, "a sidecar says where it listens", async || {
            assert!(process.ended().is_none(), "{}", process.printed());
            let text = std::fs::read(state.join("addresses.json")).ok()?;
            serde_json::from_slice::<serde_json::Value>(&text).ok()
        })
        .await;
        let address = |name: &str| {
            let address = addresses.get(name).and_then(serde_json::Value::as_str);
            address.unwrap_or_default().to_owned()
        };
        let sidecar = Self {
            outbound: address("outbound"),
            metrics: address("metrics"),
            name,
            state,
            process,
        };
        eventually_for(START, "a sidecar is ready", async || {
            sidecar.is_ready().await.ok()
        })
        .await;
        Ok(sidecar)
    }

    /// It has configuration, and would say so.
    pub(super) async fn is_ready(&self) -> Result<()> {
        let answer = Client::direct(&self.metrics).get("/ready").await?;
        ensure!(answer.status == 200, "{}: {}", self.name, answer.text());
        Ok(())
    }

    /// The revision that brought what it runs.
    pub(super) async fn revision(&self) -> Result<u64> {
        let text = Client::direct(&self.metrics).get("/metrics").await?.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("usher_config_revision "));
        let value = line.context("usher_config_revision")?;
        value.parse().with_context(|| value.to_owned())
    }

    /// How often it had to register again because its lease was not known.
    pub(super) fn lost_leases(&self) -> usize {
        self.process.printed().matches("lease is gone").count()
    }
}

async fn token(door: &Door, folder: &Path, account: &str) -> Result<PathBuf> {
    let data = door.data.display().to_string();
    let account_flag = format!("--service-account={account}");
    let words = [
        "token",
        "create",
        "--namespace=default",
        &account_flag,
        "--data",
        &data,
    ];
    let made = usher(words).await?;
    let file = folder.join(format!("{account}.token"));
    std::fs::write(&file, made.trim())?;
    Ok(file)
}
