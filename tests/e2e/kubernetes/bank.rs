//! The bank's pods and its control plane, from the manifests that people copy.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use usher_tests::{
    Node, binary, eventually_for,
    node::{CONTROL_PLANE, documents, for_podman, in_files, repository},
    run,
};

use super::OPEN_WITHIN;

/// In the order in which they are opened: whoever is called first.
const SERVICES: [&str; 8] = [
    "fraud-rules",
    "fraud-detection",
    "account",
    "customer-profile",
    "notification",
    "reporting",
    "transaction",
    "teller",
];

/// Their pods.
pub(super) const MESHED: [&str; 9] = [
    "fraud-rules-0",
    "fraud-detection-0",
    "account-0",
    "account-1",
    "customer-profile-0",
    "notification-0",
    "reporting-0",
    "transaction-0",
    "teller-0",
];

const USHER: &str = "usher-0-usher";

pub(super) struct Bank {
    pub(super) node: Node,
    injected: BTreeMap<&'static str, String>,
    addresses: BTreeMap<&'static str, String>,
}

/// What the teller prints each second.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) sent: u64,
    ok: u64,
    failed: u64,
    skipped: u64,
    pub(super) engines: BTreeMap<String, u64>,
}

/// The file of a service.
pub(super) fn manifest(service: &str) -> PathBuf {
    repository().join(format!("config/kubernetes/bank/{service}.yaml"))
}

impl Bank {
    /// Starts all of it; nobody has paid yet.
    pub(super) async fn open(node: Node) -> Result<Self> {
        let deployment = repository().join("config/kubernetes/control-plane/deployment.yaml");
        let mut objects = vec![in_files(&repository().join("sample-services/bank/mesh"))?];
        objects.extend(for_podman(&fs::read_to_string(deployment)?)?);
        node.play(&objects, Some(CONTROL_PLANE))?;
        eventually_for(OPEN_WITHIN, "the control plane answers", async || {
            let status = node.exec(USHER, &["/usr/bin/usher", "status"]);
            (status.code == Some(0)).then_some(())
        })
        .await;
        let mut bank = Self {
            node,
            injected: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        for service in SERVICES {
            if service == "teller" {
                bank.is_served().await;
            }
            bank.start(service)?;
        }
        for pod in MESHED {
            let address = bank.node.address(&format!("{pod}-usher-proxy"))?;
            bank.addresses.insert(pod, address);
        }
        Ok(bank)
    }

    /// Waits for all instances, as a teller's `postStart` would wait for its own sidecar only.
    async fn is_served(&self) {
        let others = MESHED.len() - 1;
        eventually_for(OPEN_WITHIN, "all instances are healthy", async || {
            let table = self
                .node
                .exec(USHER, &["/usr/bin/usher", "services", "--instances"]);
            let healthy = |line: &&str| line.split_whitespace().nth(3) == Some("yes");
            (table.stdout.lines().filter(healthy).count() == others).then_some(())
        })
        .await;
    }

    /// A token for its account, its manifest injected, its pods.
    fn start(&mut self, service: &'static str) -> Result<()> {
        let words = ["/usr/bin/usher", "token", "create", "--namespace", "bank"];
        let words: Vec<&str> = words
            .into_iter()
            .chain(["--service-account", service])
            .collect();
        let token = self.node.exec(USHER, &words);
        ensure!(token.code == Some(0), "{token:?}");
        let secret = format!("token-{service}");
        self.node.secret(&secret, "token", token.stdout.trim())?;
        let file = manifest(service);
        let address = format!("{CONTROL_PLANE}:15012");
        let file = file.to_str().context("path")?;
        let words = [
            "inject",
            "-f",
            file,
            "--no-native-sidecar",
            "--namespace",
            "bank",
        ];
        let how = ["--control-plane", &address, "--join-token-secret", &secret];
        let injected = run(&binary("usher"), words.iter().chain(&how));
        ensure!(injected.code == Some(0), "{injected:?}");
        self.node.play(&for_podman(&injected.stdout)?, None)?;
        self.injected.insert(service, injected.stdout);
        Ok(())
    }

    /// A pod's.
    pub(super) fn address(&self, pod: &str) -> Result<&str> {
        self.addresses.get(pod).map(String::as_str).context("pod")
    }

    /// The words of a hook of a service's sidecar.
    pub(super) fn hook(&self, service: &str, hook: &str) -> Result<Vec<String>> {
        let all = documents(self.injected.get(service).context("service")?)?;
        let deployment = all.iter().find(|one| one["kind"] == "Deployment");
        let containers =
            &deployment.context("Deployment")?["spec"]["template"]["spec"]["containers"];
        let mut containers = containers.as_array().into_iter().flatten();
        let sidecar = containers
            .find(|one| one["name"] == "usher-proxy")
            .context("sidecar")?;
        let words = sidecar["lifecycle"][hook]["exec"]["command"]
            .as_array()
            .context("hook")?;
        let words = words.iter().filter_map(Value::as_str).map(str::to_owned);
        Ok(words.collect())
    }

    /// The teller's newest; `None` while it has none.
    pub(super) fn stats(&self) -> Option<Stats> {
        let log = self
            .node
            .podman(&["logs", "--tail", "4", "teller-0-teller"])
            .ok()?;
        log.lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok())
    }

    /// Waits until so many were sent: none of them failed.
    pub(super) async fn payments(&self, sent: u64) -> Result<Stats> {
        let stats = eventually_for(OPEN_WITHIN, &format!("{sent} payments"), async || {
            self.stats().filter(|stats| stats.sent >= sent)
        })
        .await;
        ensure!(
            stats.ok > 0 && stats.failed == 0 && stats.skipped == 0,
            "{stats:?}"
        );
        Ok(stats)
    }
}
