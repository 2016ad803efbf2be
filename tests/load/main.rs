//! Usher beside its peers in one run: what a request, a connection, a byte and a known service cost.
//!
//! How it is measured (and why ratios inside one run are all that counts): core 0 has the load generator and the
//! upstream, core 1 every proxy, one worker each. All peers of a comparison are started first, warmed, then take
//! turns A B C A B C; medians of the rounds are reported with their spread. CPU is the time on CPU of all threads
//! of a peer's proxies (`/proc/PID/task/*/schedstat`). As root everything runs in a network namespace of its own,
//! where no firewall or connection tracking of the machine taxes the packets.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a measuring program: it prints, and ends when it cannot measure"
)]

mod admission;
mod all;
mod chaos;
mod chart;
mod closed_loop;
mod comparison;
mod fixed;
mod handshakes;
mod hops;
mod idle;
mod kept;
mod known;
mod mesh;
mod open_loop;
mod peers;
mod process;
mod protocol;
mod secured;
mod soak;
mod statistics;
mod tcp;
mod tls;
mod turns;
mod upstream;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use crate::{peers::Shape, protocol::Protocol};

/// Measures sidecars beside Envoy, haproxy and nginx.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  cargo build --workspace --bins --profile dist
  target/dist/usher-load pair --envoy $(python3 -c 'import envoy._bin,os;print(os.path.join(envoy._bin.__path__[0],\"envoy\"))')
  target/dist/usher-load pair --protocol grpc --seconds 5 --rounds 3 --json pair.json --svg pair.svg
  target/dist/usher-load all --json all.json --svg all.svg        twenty minutes with every peer
  target/dist/usher-load mesh --json mesh.json --svg mesh.svg
  target/dist/usher-load soak --minutes 60 --json soak.json
  target/dist/usher-load admission --services 1000           usher built with --features kubernetes
  target/debug/usher-load chaos --steps 1000 --seed 1 --json chaos.json     usher built with --features etcd")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Stay in the machine's network, instead of a network namespace (for which it takes root)
    #[arg(long, global = true)]
    machine_network: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Requests through one proxy, plaintext on both sides
    Plain(hops::Hops),
    /// Requests through two proxies with mutual TLS between them
    Pair(hops::Hops),
    /// Latency at a fixed rate through a pair, counted from the time at which each request was due
    Fixed(fixed::Fixed),
    /// Throughput of bytes that nobody looks into, through a pair
    Tcp(tcp::Tcp),
    /// New connections with full mutual TLS handshakes, at one inbound proxy
    Handshakes(handshakes::Handshakes),
    /// Memory with many services in the mesh, few of them called
    Known(known::Known),
    /// Memory with thousands of connections that only wait
    Idle(idle::Idle),
    /// The control plane with thousands of connected sidecars: how late they hear of a change, and what it costs
    Mesh(mesh::Scale),
    /// Everything at once for a long time: is anything lost, done twice, or growing?
    Soak(soak::Soak),
    /// Control planes and etcd die, freeze and are cut off: is anything lost, does anybody notice?
    Chaos(chaos::Chaos),
    /// The webhook: how long an API server waits for it
    Admission(admission::Admission),
    /// Every comparison, one after the other
    All(all::All),
    /// The server behind the proxies
    #[command(hide = true)]
    Upstream {
        /// What it speaks.
        protocol: Protocol,
    },
    /// An instance's application in `soak`
    #[command(hide = true)]
    Application(soak::Application),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let is_part = matches!(arguments.what, What::Upstream { .. } | What::Application(_));
    if !is_part {
        if !arguments.machine_network {
            own_network()?;
        }
        // The load, and what is started beside the proxies, stays off their core. A soak takes what there is, and a mesh's
        // bars are for two cores with its sidecars on them.
        let takes_all = matches!(
            arguments.what,
            What::Soak(_) | What::Chaos(_) | What::Mesh(_) | What::Admission(_)
        );
        if !takes_all {
            process::pin(std::process::id(), 0)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = async {
        match arguments.what {
            What::Plain(arguments) => hops::run(&arguments, Shape::Plain).await,
            What::Pair(arguments) => hops::run(&arguments, Shape::Pair).await,
            What::Fixed(arguments) => fixed::run(&arguments).await,
            What::Tcp(arguments) => tcp::run(&arguments).await,
            What::Handshakes(arguments) => handshakes::run(&arguments).await,
            What::Known(arguments) => known::run(&arguments).await,
            What::Idle(arguments) => idle::run(&arguments).await,
            What::Mesh(arguments) => mesh::run(&arguments).await,
            What::Soak(arguments) => soak::run(&arguments).await,
            What::Chaos(arguments) => chaos::run(&arguments).await,
            What::Admission(arguments) => admission::run(&arguments).await,
            What::All(arguments) => all::run(&arguments).await,
            What::Application(arguments) => soak::serve(&arguments).await,
            What::Upstream { protocol } => upstream::serve(protocol).await,
        }
    };
    runtime.block_on(measured)
}

/// A network with nothing in it but loopback, for this process and all it starts.
fn own_network() -> Result<()> {
    use nix::sched::{CloneFlags, unshare};
    let made = nix::unistd::geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok();
    if !made {
        eprintln!("no network namespace (that takes root): packets pass the machine's firewall");
        return Ok(());
    }
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    let status = up.context("ip (Debian: iproute2)")?;
    ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}
