//! A node for pods: podman in namespaces of the test's own, as far as podman can be a kubelet.
//!
//! Network, mounts and processes are a world apart: its bridge, its addresses and what it writes below `/run` and
//! `/var/lib/cni` are nobody else's, its images lie in a temporary folder, and when its first process ends the kernel
//! ends all others. Where podman reads Kubernetes's words in another way than a kubelet does: [`manifest`].

mod leftovers;
mod manifest;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Output, Process, Wiretap, binary, eventually, run, skip};

pub use manifest::{documents, for_podman, in_files};

/// Where the control plane is, which pods ask for names, too: the first address that a pod can have.
pub const CONTROL_PLANE: &str = "10.89.7.2";

/// Programs, and Debian's packages of them.
const NEEDED: [(&str, &str); 8] = [
    ("podman", "podman"),
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("conmon", "conmon"),
    // What a pod's own first process is: podman makes its image of it, and so pulls none.
    ("catatonit", "catatonit"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("curl", "curl"),
];
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
const BRIDGE: &str = "/usr/lib/cni/bridge";

/// As `shared/podman` of the project has it for machines without `CAP_SYS_RESOURCE` and with both kinds of control groups.
/// Names are asked of the control plane; its port for that is below 1024, which podman 4.3 does not take from a pod's
/// `securityContext.sysctls`.
const ENGINE: &str = r#"[containers]
default_ulimits = ["nofile=4096:4096", "nproc=2048:2048"]
cgroups = "enabled"
cgroupns = "host"
default_sysctls = ["net.ipv4.ip_unprivileged_port_start=0"]
dns_servers = ["CONTROL_PLANE"]
dns_searches = ["bank.mesh", "mesh"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"

[network]
network_backend = "cni"
network_config_dir = "FOLDER/networks"
"#;

const STORAGE: &str = r#"[storage]
driver = "overlay"
graphroot = "FOLDER/storage"
runroot = "/run/usher-storage"
"#;

/// Addresses of the world's bridge; nothing leads out of it.
const NETWORK: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "usher",
  "plugins": [{
    "type": "bridge", "bridge": "usher0", "isGateway": true, "ipMasq": false,
    "ipam": {
      "type": "host-local", "dataDir": "/var/lib/cni/networks", "routes": [{"dst": "0.0.0.0/0"}],
      "ranges": [[{"subnet": "10.89.7.0/24", "gateway": "10.89.7.1"}]]
    }
  }]
}
"#;

/// The world's first process waits, and so nobody who ends there is left as a zombie.
const FIRST: &str = "set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock /var/lib/cni /var/lib/containers
mount -t tmpfs tmpfs /var/lib/cni
mount -t tmpfs tmpfs /var/lib/containers
ip link set lo up
echo ready
sleep infinity & wait";

/// The longest that one command of podman may take on a machine that is busy.
const COMMAND: Duration = Duration::from_secs(120);

/// Its pods, images and network are gone when it is dropped.
#[derive(Debug)]
pub struct Node {
    // Ended before the folder is removed.
    world: Process,
    _guard: Process,
    folder: TempDir,
    /// Of all pods that there were.
    pods: Mutex<BTreeSet<String>>,
}

impl Node {
    /// `None`, with the reason printed, where podman cannot run pods.
    pub async fn new() -> Result<Option<Self>> {
        if let Some(reason) = lacks() {
            skip(&format!("pods: {reason}"));
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        let here = path.to_str().context("path")?;
        fs::create_dir(path.join("networks"))?;
        let engine = ENGINE.replace("CONTROL_PLANE", CONTROL_PLANE);
        fs::write(path.join("containers.conf"), engine.replace("FOLDER", here))?;
        fs::write(path.join("storage.conf"), STORAGE.replace("FOLDER", here))?;
        fs::write(path.join("networks/usher.conflist"), NETWORK)?;
        let guard = leftovers::guard(path);
        // A world whose test is killed is killed, too.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--net",
            "--pid",
        ]);
        command.args(["--fork", "--kill-child", "--mount-proc", "sh", "-c", FIRST]);
        let mut world = Process::start(command, path.join("world.log"));
        let is_ready = eventually("namespaces are made", async || {
            let ended = world.ended().is_some();
            (ended || world.printed().contains("ready")).then_some(!ended)
        })
        .await;
        if !is_ready {
            skip(&format!("pods: no namespaces: {}", world.printed().trim()));
            return Ok(None);
        }
        let pods = Mutex::default();
        let node = Self {
            folder,
            world,
            _guard: guard,
            pods,
        };
        match node.probe() {
            Ok(()) => Ok(Some(node)),
            Err(error) => {
                skip(&format!("pods: podman runs none here: {error:#}"));
                Ok(None)
            }
        }
    }

    /// The least that has to work, with nothing of ours: what fails later is no reason to skip.
    fn probe(&self) -> Result<()> {
        self.podman(&["pod", "create", "--name", "probe", "--network", "usher"])?;
        self.podman(&["pod", "start", "probe"])?;
        self.remember_pods()?;
        self.podman(&["pod", "rm", "--force", "--time", "0", "probe"])?;
        Ok(())
    }

    /// Builds images of the programs beside this test, as `NAME DIGEST BYTES`.
    pub fn build(&self, images: &[&str]) -> Result<String> {
        let script = repository().join("config/kubernetes/images/build");
        let proxy = binary("usher-proxy");
        let programs = proxy.parent().and_then(Path::to_str).context("path")?;
        let script = script.to_str().context("path")?;
        let before = [script, "--binaries", programs, "--tag", "test"];
        let words: Vec<&str> = before.iter().chain(images).copied().collect();
        done("build", self.inside(&words))
    }

    /// `podman play kube` of these objects, as [`for_podman`] gives them.
    pub fn play(&self, objects: &[Value], address: Option<&str>) -> Result<()> {
        let file = self.folder.path().join("play.yaml");
        let documents = objects.iter().map(serde_yaml::to_string);
        let documents: Vec<String> = documents.collect::<Result<_, _>>()?;
        fs::write(&file, documents.join("---\n"))?;
        let file = file.to_str().context("path")?;
        let address = address.into_iter().flat_map(|address| ["--ip", address]);
        let words = ["play", "kube", "--network", "usher"];
        let words: Vec<&str> = words.into_iter().chain(address).chain([file]).collect();
        let played = self.podman(&words);
        self.remember_pods()?;
        played.map(drop)
    }

    fn remember_pods(&self) -> Result<()> {
        let there = self.podman(&["pod", "ls", "--quiet", "--no-trunc"])?;
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.extend(there.lines().map(str::to_owned));
        // For the guard of a test that is killed.
        let lines: String = pods.iter().map(|pod| format!("{pod}\n")).collect();
        fs::write(self.folder.path().join("pods"), lines)?;
        Ok(())
    }

    /// Ids of all pods that there were.
    pub fn pods(&self) -> BTreeSet<String> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.clone()
    }

    /// A Secret with one key. podman 4.3 hands the values of a Secret from a manifest to pods without decoding them; what it
    /// is given by name it hands over as it is.
    pub fn secret(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let file = self.folder.path().join("secret.yaml");
        fs::write(&file, format!("data:\n  {key}: {value:?}\n"))?;
        let path = file.to_str().context("path")?;
        let made = self.podman(&["secret", "create", name, path]);
        fs::remove_file(&file)?;
        made.map(drop)
    }

    /// `podman WORDS`, which has to succeed: what it printed.
    pub fn podman(&self, words: &[&str]) -> Result<String> {
        let words: Vec<&str> = ["podman"].iter().chain(words).copied().collect();
        done(&words.join(" "), self.inside(&words))
    }

    /// A program in a container.
    pub fn exec(&self, container: &str, words: &[&str]) -> Output {
        let before = ["podman", "exec", container];
        self.inside(&before.iter().chain(words).copied().collect::<Vec<_>>())
    }

    /// What a container printed so far, on both.
    pub fn logs(&self, container: &str) -> String {
        let output = self.inside(&["podman", "logs", container]);
        output.stdout + &output.stderr
    }

    /// A program of this machine in the network of a container's pod.
    pub fn beside(&self, container: &str, words: &[&str]) -> Result<Output> {
        let pid = self.podman(&["inspect", "--format", "{{.State.Pid}}", container])?;
        let before = ["nsenter", "--target", pid.trim(), "--net", "--"];
        Ok(self.inside(&before.iter().chain(words).copied().collect::<Vec<_>>()))
    }

    /// The address of a container's pod.
    pub fn address(&self, container: &str) -> Result<String> {
        let output = self.beside(
            container,
            &["ip", "-4", "-o", "addr", "show", "dev", "eth0"],
        )?;
        let words = output.stdout.split_whitespace();
        let address = words.skip_while(|word| *word != "inet").nth(1);
        let address = address.and_then(|address| address.split('/').next());
        Ok(address.with_context(|| format!("{output:?}"))?.to_owned())
    }

    /// Everything that it has written.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Listens to every packet of this network from now on.
    pub fn wiretap(&self) -> Result<Wiretap> {
        Wiretap::start(&self.namespace("net"))
    }

    /// Starts a program in the world, which goes on.
    pub fn start(&self, words: &[&str], log: &str) -> Process {
        let mut command = self.enter();
        command.args(words);
        Process::start(command, self.folder.path().join(log))
    }

    fn inside(&self, words: &[&str]) -> Output {
        let mut command = self.enter();
        command.arg("timeout").arg(COMMAND.as_secs().to_string());
        let output = command.args(words).env("NO_COLOR", "1").output();
        let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        for (flag, file) in [
            ("mount", "mnt"),
            ("net", "net"),
            ("pid", "pid_for_children"),
        ] {
            let file = self.namespace(file);
            command.arg(format!("--{flag}={}", file.display()));
        }
        let folder = self.folder.path();
        command.env("CONTAINERS_CONF", folder.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", folder.join("storage.conf"));
        command.arg("--");
        command
    }

    fn namespace(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{file}", self.world.pid()))
    }

    /// Prints the last words of all containers: a test has failed.
    pub fn tell(&self) {
        let names = self.podman(&["ps", "--all", "--format", "{{.Names}}"]);
        for name in names.unwrap_or_default().lines() {
            let said = self.inside(&["podman", "logs", "--tail", "12", name]);
            eprintln!("--- {name}\n{}{}", said.stdout, said.stderr);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        // Their control groups are the machine's; all else ends with the world.
        let _ = self.podman(&["pod", "rm", "--all", "--force", "--time", "0"]);
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        leftovers::remove_groups(&pods);
        self.world.signal(Signal::SIGKILL);
    }
}

/// The folder with everything.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn lacks() -> Option<String> {
    let found = |program: &str| {
        FOLDERS
            .iter()
            .any(|at| Path::new(at).join(program).exists())
    };
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make their namespaces and networks".to_owned());
    }
    let missing = NEEDED.iter().find(|(program, _)| !found(program));
    if let Some((program, package)) = missing {
        return Some(format!("there is no {program} (apt-get install {package})"));
    }
    if !Path::new(BRIDGE).exists() {
        return Some(
            "there is no CNI bridge (apt-get install containernetworking-plugins)".to_owned(),
        );
    }
    // The adaptations are of this one; a later one takes more as Kubernetes does, and has no CNI.
    let version = run(Path::new("podman"), ["--version"]).stdout;
    let is_known = version.trim().starts_with("podman version 4.");
    (!is_known).then(|| format!("{} is not podman 4, which the test is for", version.trim()))
}

fn done(what: &str, output: Output) -> Result<String> {
    match output.code {
        Some(0) => Ok(output.stdout),
        Some(124) => bail!("{what}: not done within {COMMAND:?}: {}", output.stderr),
        _ => bail!("{what}: {}{}", output.stdout, output.stderr),
    }
}
