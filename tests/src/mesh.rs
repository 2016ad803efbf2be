//! A control plane of one's own, in a temporary folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Output, Process, SidecarBuilder, binary, eventually, run, yaml};

/// A running `usher serve` and the folder it reads.
#[derive(Debug)]
pub struct Mesh {
    folder: TempDir,
    grpc: String,
    http: String,
    /// Arguments of `usher serve` in place of `--config`.
    store: Vec<String>,
    dns: String,
    /// Whom it asks about names that are not of the mesh.
    resolvers: String,
    server: Option<Process>,
}

impl Mesh {
    /// Starts a control plane on these documents; workloads `web` (a caller) is always there.
    pub async fn start(documents: &[String]) -> Result<Self> {
        Self::start_on("127.0.0.1:0", documents).await
    }

    /// As [`Mesh::start`], its gRPC on this address.
    pub async fn start_on(grpc: &str, documents: &[String]) -> Result<Self> {
        Self::start_prepared(grpc, documents, |_| Ok(())).await
    }

    /// As [`Mesh::start_on`]; `prepare` may put something into the control plane's state before its first start.
    pub async fn start_prepared(
        grpc: &str,
        documents: &[String],
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("config"))?;
        prepare(&folder.path().join("data"))?;
        let mut mesh = Self {
            folder,
            grpc: grpc.to_owned(),
            http: String::new(),
            store: Vec::new(),
            dns: String::new(),
            // Never the machine's own.
            resolvers: "off".to_owned(),
            server: None,
        };
        let mesh_object = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n  trustDomain: test.mesh\n";
        mesh.write("mesh.yaml", mesh_object)?;
        mesh.write("web.yaml", &yaml::workload("web"))?;
        for (index, document) in documents.iter().enumerate() {
            mesh.write(&format!("{index:02}.yaml"), document)?;
        }
        mesh.start_server().await?;
        let status = mesh.ask(&["status"])?;
        let rejected = status["rejected"]
            .as_array()
            .is_none_or(|list| !list.is_empty());
        anyhow::ensure!(!rejected, "the test's own YAML is rejected: {status:#}");
        Ok(mesh)
    }

    /// Starts a control plane whose configuration is in a store, with these arguments; `prepare` may put something into its
    /// state before its first start.
    pub async fn start_on_store(
        store: &[String],
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        prepare(&folder.path().join("data"))?;
        let mut mesh = Self {
            folder,
            grpc: "127.0.0.1:0".to_owned(),
            http: String::new(),
            store: store.to_vec(),
            dns: String::new(),
            resolvers: "off".to_owned(),
            server: None,
        };
        mesh.start_server().await?;
        Ok(mesh)
    }

    /// `usher apply` of these documents to this control plane, which has its configuration in a store.
    pub fn apply(&self, documents: &[String]) -> Result<Output> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        for (index, document) in documents.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{index:02}.yaml")), document)?;
        }
        let data = self.data();
        let arguments = [
            Path::new("apply"),
            folder.path(),
            Path::new("--data"),
            &data,
        ];
        let arguments = arguments.map(Path::as_os_str);
        Ok(run(&binary("usher"), arguments))
    }

    /// Lets a service become strict whoever is listed as a caller in plaintext.
    pub fn dismiss_callers(&self, service: &str) -> Result<()> {
        let data = self.data();
        let arguments = ["callers", service, "--dismiss", "--data"].map(Path::new);
        let arguments = arguments.into_iter().chain([data.as_path()]);
        let done = run(&binary("usher"), arguments.map(Path::as_os_str));
        anyhow::ensure!(done.code == Some(0), "{}", done.stderr);
        Ok(())
    }

    /// Starts the control plane again with names answered at `address`, and others' asked of `resolvers`.
    pub async fn restart_names(&mut self, address: Option<&str>, resolvers: &str) -> Result<()> {
        self.kill_server();
        if let Some(address) = address {
            address.clone_into(&mut self.dns);
        }
        resolvers.clone_into(&mut self.resolvers);
        self.start_server().await
    }

    /// Starts the control plane again after [`Mesh::kill_server`], on the address it had.
    pub async fn start_server(&mut self) -> Result<()> {
        let data = self.data();
        let _ = std::fs::remove_file(data.join("addresses.json"));
        let mut command = Command::new(binary("usher"));
        let (grpc, http) = (self.address(&self.grpc), self.address(&self.http));
        command.args(["serve", "--listen", &grpc, "--http", &http]);
        match self.store.as_slice() {
            [] => command.arg("--config").arg(self.config()),
            store => command.args(store),
        };
        command.args(["--dns", &self.address(&self.dns)]);
        command.args(["--dns-forward", &self.resolvers]);
        command.arg("--data").arg(&data);
        let mut server = Process::start(command, self.path("serve.log"));
        let addresses = eventually("the control plane says where it listens", async || {
            assert!(
                server.ended().is_none(),
                "usher serve ended: {}",
                server.printed()
            );
            serde_json::from_slice::<serde_json::Value>(
                &std::fs::read(data.join("addresses.json")).ok()?,
            )
            .ok()
        })
        .await;
        self.server = Some(server);
        let address = |name: &str| addresses[name].as_str().map(str::to_owned);
        self.grpc = address("grpc").context("addresses.json has no grpc")?;
        self.http = address("http").context("addresses.json has no http")?;
        self.dns = address("dns").context("addresses.json has no dns")?;
        Ok(())
    }

    /// The address it had, or a free port of a loopback address that only this test process uses: while the control
    /// plane is down, nobody else can get its port.
    fn address(&self, known: &str) -> String {
        if known.is_empty() {
            let [_, high, middle, low] = std::process::id().to_be_bytes();
            format!("127.{}.{middle}.{low}:0", high | 0x40)
        } else {
            known.to_owned()
        }
    }

    /// Process id of the control plane, while it runs.
    pub fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// SIGKILL: what a machine does that loses power.
    pub fn kill_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// Writes or replaces a file of the configuration.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.config().join(name), text).context("write configuration")
    }

    /// A sidecar for an instance of the service.
    pub fn sidecar(&self, service: &str) -> SidecarBuilder<'_> {
        SidecarBuilder::new(self, service)
    }

    /// `usher ARGUMENTS --json` against this control plane, parsed.
    pub fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let server = format!("http://{}", self.http);
        let mut all = arguments.to_vec();
        all.extend(["--server", &server, "--json"]);
        let output = run(&binary("usher"), &all);
        serde_json::from_str(&output.stdout).with_context(|| format!("{arguments:?}: {output:?}"))
    }

    /// A join token for the service account, in a file.
    pub fn token(&self, service_account: &str) -> Result<PathBuf> {
        let data = self.data();
        let data = data.to_str().context("path")?;
        let arguments = [
            "token",
            "create",
            "--namespace",
            "default",
            "--service-account",
            service_account,
            "--data",
            data,
        ];
        let output = run(&binary("usher"), arguments);
        anyhow::ensure!(output.code == Some(0), "token create: {output:?}");
        let file = self.path(&format!("{service_account}.token"));
        std::fs::write(&file, output.stdout.trim())?;
        Ok(file)
    }

    /// The folder that `usher serve` reads.
    pub fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// The folder in which `usher serve` keeps its state.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A file or folder of this mesh.
    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    /// Where the control plane's gRPC listens.
    pub fn grpc(&self) -> &str {
        &self.grpc
    }

    /// Where the control plane answers about names.
    pub fn dns(&self) -> &str {
        &self.dns
    }

    /// Where the control plane's REST interface listens.
    pub fn http(&self) -> &str {
        &self.http
    }
}
