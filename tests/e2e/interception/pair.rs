//! Machines of the test's own, their sidecars started as an operator would.

use std::path::PathBuf;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Application, Host, Mesh, Network, Process, binary, eventually, reply, yaml};

/// The uid that the rules leave alone.
pub(super) const SIDECAR: u32 = 1337;

pub(super) fn intercept(host: &Host, arguments: &[&str]) -> usher_tests::Output {
    let all: Vec<&str> = ["intercept"].iter().chain(arguments).copied().collect();
    host.run(&binary("usher-proxy"), &all)
}

/// `usher-proxy` as an operator would start it on a machine with interception.
pub(super) struct Sidecar {
    pub(super) process: Process,
    state: PathBuf,
}

impl Sidecar {
    pub(super) fn spawn(
        mesh: &Mesh,
        host: &Host,
        service: &str,
        uid: u32,
        more: &[&str],
    ) -> Result<Self> {
        let state = mesh.path(&format!("{service}-{uid}"));
        std::fs::create_dir(&state)?;
        let token = state.join("token");
        std::fs::copy(mesh.token(service)?, &token)?;
        let owner = Some(nix::unistd::Uid::from_raw(uid));
        for path in [&state, &token] {
            nix::unistd::chown(path, owner, None)?;
        }
        // The folder around it is the test user's alone.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(mesh.path("."), all)?;
        let tproxy = more.contains(&"tproxy");
        let mut command = if tproxy {
            host.capable_command(uid, &binary("usher-proxy"))
        } else {
            host.command(uid, &binary("usher-proxy"))
        };
        if !more.contains(&"--transparent") {
            command.args(["--transparent", "redirect"]);
        }
        command.args(["--service", service, "--namespace", "default"]);
        command.args(["--control-plane", mesh.grpc(), "--access-log"]);
        command.arg(state.join("access.log"));
        command
            .arg("--token-file")
            .arg(&token)
            .arg("--state-dir")
            .arg(&state);
        command.args(more);
        let process = Process::start(command, mesh.path(&format!("{service}-{uid}.log")));
        Ok(Self { process, state })
    }

    pub(super) async fn start(
        mesh: &Mesh,
        host: &Host,
        service: &str,
        more: &[&str],
    ) -> Result<Self> {
        let mut sidecar = Self::spawn(mesh, host, service, SIDECAR, more)?;
        eventually(&format!("{service} is ready"), async || {
            let process = &mut sidecar.process;
            assert!(process.ended().is_none(), "{}", process.printed());
            let answer = get(host, "127.0.0.1:15020", "x", "/ready").await.ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
        Ok(sidecar)
    }

    pub(super) fn access_log(&self) -> String {
        std::fs::read_to_string(self.state.join("access.log")).unwrap_or_default()
    }
}

/// What comes back to one request.
pub(super) async fn get(host: &Host, address: &str, name: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::from_std(host.connect(address)?)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The first bytes that come without being asked for.
pub(super) async fn greeting(host: &Host, address: &str) -> Result<String> {
    let mut stream = TcpStream::from_std(host.connect(address)?)?;
    let mut greeting = [0; 6];
    let seen = stream.read(&mut greeting).await?;
    Ok(String::from_utf8_lossy(&greeting[..seen]).into_owned())
}

/// Greets whoever connects.
pub(super) fn greeter(host: &Host, address: &str) -> Result<()> {
    let listener = TcpListener::from_std(host.listen(address)?)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"hello\n").await;
        }
    });
    Ok(())
}

/// Says who called, as the mesh sees it.
pub(super) fn api(host: &Host, address: &str) -> Result<Application> {
    let listener = TcpListener::from_std(host.listen(address)?)?;
    Application::on(listener, |request, _| {
        let who = request.headers.get("x-forwarded-client-cert");
        let who = who.map_or("nobody", |value| value.to_str().unwrap());
        reply(200, format!("called by {who}"))
    })
}

impl<A> Pair<A> {
    /// Of `api`'s port, by which applications call it.
    pub(super) fn address(&self) -> Result<String> {
        Ok(format!("{}:8080", virtual_address(&self.mesh, "api")?))
    }

    /// A connection of `web`'s application.
    pub(super) fn dial(&self, address: &str) -> Result<TcpStream> {
        Ok(TcpStream::from_std(self.web.connect(address)?)?)
    }
}

pub(super) fn virtual_address(mesh: &Mesh, service: &str) -> Result<String> {
    let services = mesh.ask(&["services"])?;
    let mut list = services.as_array().into_iter().flatten();
    let found = list.find(|entry| entry["name"] == service);
    let found = found.unwrap_or_else(|| panic!("no {service} in {services:#}"));
    Ok(found["virtualAddresses"][0].as_str().unwrap().to_owned())
}

pub(super) async fn registered(mesh: &Mesh, address: &str) {
    eventually(&format!("{address} is registered healthy"), async || {
        let services = mesh.ask(&["services"]).ok()?;
        let endpoints = services.as_array()?.iter();
        let mut endpoints = endpoints.flat_map(|service| service["endpoints"].as_array());
        let is_there = |endpoint: &serde_json::Value| {
            endpoint["address"] == address && endpoint["healthy"] == true
        };
        endpoints.any(|all| all.iter().any(is_there)).then_some(())
    })
    .await;
}

/// A mesh with `api` on one machine and `web` on another, both intercepted.
pub(super) struct Pair<A = Application> {
    pub(super) mesh: Mesh,
    pub(super) network: Network,
    pub(super) web: Host,
    pub(super) api: Host,
    pub(super) web_sidecar: Sidecar,
    pub(super) api_sidecar: Sidecar,
    pub(super) application: A,
}

impl Pair {
    /// `inbound`: how `api` is intercepted.
    pub(super) async fn new(inbound: &[&str]) -> Result<Option<Self>> {
        Self::around(("http", &[]), inbound, |host| api(host, "0.0.0.0:8080")).await
    }
}

impl<A> Pair<A> {
    /// Around an application of the test's own, on port 8080, which declares `protocol`. `more`: for both sidecars.
    pub(super) async fn around(
        (protocol, more): (&str, &[&str]),
        inbound: &[&str],
        application: impl FnOnce(&Host) -> Result<A>,
    ) -> Result<Option<Self>> {
        let Some(network) = Network::new()? else {
            return Ok(None);
        };
        let mesh = Mesh::start_on("10.77.0.1:0", &[yaml::service("api", 8080, protocol)]).await?;
        let (web, api_host) = (network.host()?, network.host()?);
        for (host, arguments) in [(&web, &[][..]), (&api_host, inbound)] {
            let arguments: Vec<&str> = ["install"].iter().chain(arguments).copied().collect();
            let installed = intercept(host, &arguments);
            assert_eq!(installed.code, Some(0), "{installed:?}");
        }
        let application = application(&api_host)?;
        let mode = inbound.last().copied().unwrap_or("redirect");
        let own = ["--application-port", "8080", "--transparent", mode];
        let api_sidecar = Sidecar::start(&mesh, &api_host, "api", &[&own, more].concat()).await?;
        let web_sidecar = Sidecar::start(&mesh, &web, "web", more).await?;
        registered(&mesh, &format!("{}:15006", api_host.ipv4)).await;
        Ok(Some(Self {
            mesh,
            network,
            web,
            api: api_host,
            web_sidecar,
            api_sidecar,
            application,
        }))
    }
}
