//! One machine with a mesh and control groups, and what is to be seen of both.

use std::{path::Path, time::Duration};

use anyhow::Result;
use tokio::net::TcpListener;
use usher_tests::{
    Application, Mesh, Network, Output, Sidecar, SidecarBuilder, eventually, reply, run, skip, yaml,
};

use super::super::pair::virtual_address;

/// Control groups are where `nft` looks for them, for the program that follows; only in a mount namespace of its own.
pub(super) const GROUPS: [&str; 6] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"",
    "sh",
];

const PROXY_VARIABLES: [&str; 6] = [
    "all_proxy",
    "ALL_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
];

pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// One machine: a control plane, and `api` behind its sidecar.
pub(super) struct Machine {
    _network: Network,
    pub(super) mesh: Mesh,
    pub(super) application: Application,
    pub(super) api: Sidecar,
    /// `http://` and the virtual address of `api`.
    pub(super) url: String,
}

impl Machine {
    /// `None`, with the reason printed, where something of it is not possible.
    pub(super) async fn new() -> Result<Option<Self>> {
        let Some(network) = Network::new()? else {
            return Ok(None);
        };
        let may = "d=/sys/fs/cgroup/usher-probe-$$; mkdir $d && rmdir $d && command -v curl";
        let probed = grouped(&["sh", "-c", may]);
        if probed.code != Some(0) {
            skip("no control groups of version 2 to be made here, or no curl");
            return Ok(None);
        }
        let api = yaml::service("api", 8080, "http");
        let mesh = Mesh::start(&[api, yaml::workload("batch")]).await?;
        for family in ["-4", "-6"] {
            let routed = run(
                Path::new("ip"),
                [family, "route", "add", "default", "dev", "usher0"],
            );
            anyhow::ensure!(routed.code == Some(0), "{routed:?}");
        }
        let application = Application::answering(|request, _| {
            let who = request.headers.get("x-forwarded-client-cert");
            let who = who.map_or("nobody", |value| value.to_str().unwrap());
            reply(200, format!("called by {who}\n"))
        })
        .await?;
        let api = mesh
            .sidecar("api")
            .application(&application)
            .start()
            .await?;
        let url = format!("http://{}:8080/", virtual_address(&mesh, "api")?);
        Ok(Some(Self {
            _network: network,
            mesh,
            application,
            api,
            url,
        }))
    }

    pub(super) fn intercepted(&self, service: &str, script: &str) -> SidecarBuilder<'_> {
        let sidecar = self.ungraced(service, script);
        sidecar.argument("--stop-grace").argument("1s")
    }

    /// Whose command may take longer to end than the test waits for anything.
    pub(super) fn patient(&self, service: &str, script: &str) -> SidecarBuilder<'_> {
        let sidecar = self.ungraced(service, script);
        sidecar.argument("--stop-grace").argument("1m")
    }

    fn ungraced(&self, service: &str, script: &str) -> SidecarBuilder<'_> {
        let sidecar = self.mesh.sidecar(service).within(&GROUPS);
        // Of whoever starts it; they would lead around the mesh.
        let sidecar = PROXY_VARIABLES.iter().fold(sidecar, |sidecar, name| {
            sidecar.environment(name, "http://127.0.0.1:1")
        });
        sidecar
            .argument("--transparent")
            .command(&["sh", "-c", script])
    }
}

/// Runs a program where control groups are seen.
pub(super) fn grouped(program: &[&str]) -> Output {
    let words = GROUPS.iter().chain(program).skip(1);
    run(Path::new(GROUPS[0]), words)
}

pub(super) fn tables() -> Vec<String> {
    let listed = run(Path::new("nft"), ["list", "tables"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    listed.stdout.lines().map(str::to_owned).collect()
}

/// The command's control group, by what is said when it starts.
pub(super) async fn group(sidecar: &Sidecar) -> String {
    eventually("the control group is named", async || {
        let printed = sidecar.process.printed();
        let (_, rest) = printed.split_once("control group /sys/fs/cgroup/")?;
        Some(rest.split_once('\n')?.0.to_owned())
    })
    .await
}

pub(super) async fn says(sidecar: &Sidecar, word: &str) {
    let what = format!("{word} is said");
    eventually(&what, async || {
        let printed = sidecar.process.printed();
        printed
            .lines()
            .any(|line| line.contains(word))
            .then_some(())
    })
    .await;
}

pub(super) fn exists(group: &str) -> bool {
    grouped(&["test", "-e", &format!("/sys/fs/cgroup/{group}")]).code == Some(0)
}

pub(super) async fn is_gone(group: &str, how: &str) {
    let what = format!("{how}: table and control group are gone");
    eventually(&what, async || {
        (tables().is_empty() && !exists(group)).then_some(())
    })
    .await;
}

/// A server on every address, of the mesh's outside.
pub(super) async fn outside(port: u16) -> Result<Application> {
    let listener = TcpListener::bind(format!("[::]:{port}")).await?;
    Application::on(listener, |_, _| reply(200, "outside\n"))
}

/// What the application answers to a caller of that account: the mesh has vouched for it.
pub(super) fn called_by(account: &str) -> String {
    format!("URI=spiffe://test.mesh/ns/default/sa/{account}")
}

/// Process ids of `usher run`'s children whose command line has the word.
pub(super) fn children(of: &Sidecar, word: &str) -> Result<Vec<i32>> {
    let pid = of.process.pid();
    let all = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let has_word = |child: &&str| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|part| part == word.as_bytes())
    };
    let found = all.split_whitespace().filter(has_word);
    found.map(|child| Ok(child.parse()?)).collect()
}
