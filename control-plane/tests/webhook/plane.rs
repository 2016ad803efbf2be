//! `usher serve` with a webhook, and patience.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::client::{Client, certificates};
use crate::api_server::{ApiServer, Key};

/// Asks again and again until there is something, for at most two minutes.
pub(super) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within two minutes: {what}");
        // Who is asked needs the machine, too.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ended when it is dropped.
pub(super) struct Plane {
    home: tempfile::TempDir,
    process: Child,
}

impl Plane {
    /// A control plane of the cluster behind `api`, with these flags, on a mesh of these documents.
    pub(super) async fn start(api: &ApiServer, mesh: &str, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("writable");
        Self::start_in(home, api, (mesh, flags)).await
    }

    /// Another one of the same mesh: it has the same root.
    pub(super) async fn beside(&self, api: &ApiServer) -> Self {
        let home = tempfile::tempdir().expect("writable");
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([self.data(), home.path().join("usher")])
            .status();
        assert!(copied.expect("cp").success());
        fs::remove_file(home.path().join("usher/addresses.json")).expect("copied");
        Self::start_in(home, api, ("", &[])).await
    }

    async fn start_in(
        home: tempfile::TempDir,
        api: &ApiServer,
        (mesh, flags): (&str, &[&str]),
    ) -> Self {
        let kubeconfig = api.kubeconfig();
        let kubeconfig = kubeconfig.to_str().expect("UTF-8");
        let cluster = ["--kubernetes", "--kubeconfig", kubeconfig];
        let all: Vec<&str> = cluster.iter().chain(flags).copied().collect();
        Self::run(home, mesh, &all).await
    }

    /// A control plane with these flags.
    pub(super) async fn start_with(mesh: &str, flags: &[&str]) -> Self {
        Self::run(tempfile::tempdir().expect("writable"), mesh, flags).await
    }

    async fn run(home: tempfile::TempDir, mesh: &str, flags: &[&str]) -> Self {
        let folder = home.path().join("mesh");
        fs::create_dir(&folder).expect("writable");
        fs::write(folder.join("mesh.yaml"), mesh).expect("writable");
        let folder = folder.to_str().expect("UTF-8").to_owned();
        let all = [&["--config", &folder], flags].concat();
        let mut plane = Self::spawn(home, &all);
        plane.answers().await;
        plane
    }

    /// A control plane of whatever is in the cluster behind `api`.
    pub(super) async fn following(api: &ApiServer) -> Self {
        let mut plane = Self::waiting(tempfile::tempdir().expect("writable"), api);
        plane.answers().await;
        plane
    }

    /// The same, which may wait for its cluster for a while.
    pub(super) fn waiting(home: tempfile::TempDir, api: &ApiServer) -> Self {
        let kubeconfig = api.kubeconfig();
        let kubeconfig = kubeconfig.to_str().expect("UTF-8");
        Self::spawn(home, &["--kubernetes", "--kubeconfig", kubeconfig])
    }

    /// Starts it again on what it has kept.
    pub(super) async fn again(mut self, api: &ApiServer) -> Self {
        self.terminate();
        assert!(self.ended().await);
        let (home, _process) = (self.home, self.process);
        let mut plane = Self::waiting(home, api);
        plane.answers().await;
        plane
    }

    fn spawn(home: tempfile::TempDir, flags: &[&str]) -> Self {
        let any = "127.0.0.1:0";
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(home.path().join("log"));
        let process = usher(home.path())
            .args([
                "serve", "--listen", any, "--http", any, "--dns", "off", "--json",
            ])
            .args(["--webhook-listen", any])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(log.expect("writable"))
            .spawn()
            .expect("usher starts");
        Self { home, process }
    }

    /// Waits until it does.
    pub(super) async fn answers(&mut self) {
        let plane = self;
        let file = plane.data().join("addresses.json");
        eventually("the control plane answers", async || {
            let ended = plane.process.try_wait().expect("ours");
            assert!(ended.is_none(), "it ended: {}", plane.log());
            file.exists().then_some(())
        })
        .await;
    }

    /// Whether it has ended, or waits for something.
    pub(super) fn is_waiting(&mut self) -> bool {
        let ended = self.process.try_wait().expect("ours");
        assert!(ended.is_none(), "it ended: {}", self.log());
        !self.data().join("addresses.json").exists()
    }

    /// A line of what Linux says of it, in KiB: `VmRSS`, `VmHWM`.
    pub(super) fn memory(&self, line: &str) -> u64 {
        let pid = self.process.id().expect("running");
        let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("running");
        let found = text.lines().find_map(|one| one.strip_prefix(line));
        let number = found.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.home.path().join("usher")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).expect("a log")
    }

    fn addresses(&self) -> Value {
        let text = fs::read(self.data().join("addresses.json")).expect("it answers");
        serde_json::from_slice(&text).expect("JSON")
    }

    pub(super) fn webhook(&self) -> SocketAddr {
        let addresses = self.addresses();
        let address = addresses["webhook"].as_str().expect("a webhook");
        address.parse().expect("an address")
    }

    pub(super) fn http(&self) -> String {
        self.addresses()["http"]
            .as_str()
            .expect("an address")
            .to_owned()
    }

    /// The root that the control plane has made.
    pub(super) fn root(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.data().join("ca/root.crt")).expect("a root")
    }

    /// A client that believes that root.
    pub(super) async fn client(&self) -> Client {
        let connected = Client::connect(self.webhook(), &[self.root()]).await;
        connected.expect("a handshake")
    }

    /// Another verb of `usher`, about this control plane, to its end.
    pub(super) async fn usher(&self, arguments: &[&str]) -> String {
        let output = usher(self.home.path()).args(arguments).output().await;
        let output = output.expect("usher starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "usher {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What such a verb says that is refused.
    pub(super) async fn refused(&self, arguments: &[&str]) -> String {
        let output = usher(self.home.path()).args(arguments).output().await;
        let output = output.expect("usher starts");
        assert!(!output.status.success(), "usher {arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Ends it as Kubernetes does.
    pub(super) fn terminate(&self) {
        let pid = self.process.id().expect("running");
        kill(
            Pid::from_raw(i32::try_from(pid).expect("a pid")),
            Signal::SIGTERM,
        )
        .expect("running");
    }

    pub(super) async fn ended(&mut self) -> bool {
        self.process.wait().await.expect("ours").success()
    }
}

fn usher(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    for name in [
        "USHER_DATA",
        "USHER_SERVER",
        "USHER_CONTROL_PLANE",
        "KUBECONFIG",
    ] {
        command.env_remove(name);
    }
    command
        .env("XDG_STATE_HOME", home)
        .env("USHER_LOG", "info")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Where our two configurations are.
pub(super) fn keys() -> [Key; 2] {
    [
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
    ]
    .map(|plural| Key::of_cluster("admissionregistration.k8s.io/v1", plural, "usher"))
}

/// An API server with our configurations as they are installed.
pub(super) async fn installed() -> ApiServer {
    let api = ApiServer::start().await;
    for configuration in usher_control_plane::webhook::objects::configurations(&Default::default())
    {
        api.put(configuration);
    }
    api
}

/// The roots in both configurations, where all webhooks of both have the same.
pub(super) fn bundle(api: &ApiServer) -> Option<String> {
    let all = keys().map(|key| {
        let configuration = api.get(&key).expect("installed");
        let webhooks = configuration["webhooks"]
            .as_array()
            .expect("a list")
            .clone();
        webhooks
            .into_iter()
            .map(|webhook| webhook["clientConfig"]["caBundle"].clone())
            .collect::<Vec<_>>()
    });
    let all = all.concat();
    let first = all.first()?.as_str()?.to_owned();
    (!first.is_empty() && all.iter().all(|one| *one == json!(first))).then_some(first)
}

/// A client that believes the `caBundle` as soon as there is one.
pub(super) async fn believing(api: &ApiServer, plane: &Plane) -> Client {
    let bundle = eventually("a caBundle", async || bundle(api)).await;
    let connected = Client::connect(plane.webhook(), &certificates(&bundle)).await;
    connected.expect("a handshake")
}
