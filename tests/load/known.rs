//! What a sidecar's memory has to do with the size of the mesh: many services known, few of them called.

use std::{path::Path, time::Duration};

use anyhow::Result;
use usher_tests::{Mesh, eventually, yaml};

use crate::{
    comparison::{Comparison, Figure, Turn},
    peers::{self, Binaries, Program, Shape, Topology, one_worker},
    process::{real, rss_kib},
    protocol::Protocol,
    turns::Output,
    upstream::Upstream,
};

/// How many.
#[derive(Debug, clap::Args)]
pub(crate) struct Known {
    /// Services in the larger mesh
    #[arg(long, value_name = "COUNT", default_value_t = SERVICES)]
    services: usize,
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    output: Output,
}

/// In the larger mesh.
pub(crate) const SERVICES: usize = 1_000;

/// Services that are called, and all that the smaller mesh has.
const CALLED: usize = 10;

/// Before memory is read.
const SETTLED: Duration = Duration::from_secs(2);

const GROWTH: Figure = Figure::less("growth MiB", 2);
const FEW: Figure = Figure::less("few known MiB", 2);
const MANY: Figure = Figure::less("many known MiB", 2);

/// From the command line.
pub(crate) async fn run(arguments: &Known) -> Result<()> {
    let compared = compare(&arguments.binaries, arguments.services).await?;
    arguments.output.write(&[compared])
}

/// Our caller's sidecar, which learns what it calls, and Envoys, which are told everything (one service called).
pub(crate) async fn compare(binaries: &Binaries, services: usize) -> Result<Comparison> {
    let conditions = format!(
        "RSS of the caller's proxy with {CALLED} and with {services} services in the mesh, {CALLED} of them called"
    );
    let title = format!("{services} known services");
    let mut comparison = Comparison::new(title, conditions, &[GROWTH, FEW, MANY]);
    let upstream = Upstream::start(Protocol::Http1).await?;
    eprintln!("usher: {CALLED} services, then {services}");
    let few = ours(CALLED, &upstream).await?;
    let many = ours(services, &upstream).await?;
    comparison.record("usher", turn(few, many));
    for program in Program::ALL {
        match (program, binaries.find(program, Protocol::Http1)?) {
            (Program::EnvoyBare | Program::EnvoyMesh, Ok(binary)) => {
                eprintln!("{}: {CALLED} services, then {services}", program.name());
                let few = theirs(program, &binary, CALLED, &upstream).await?;
                let many = theirs(program, &binary, services, &upstream).await?;
                comparison.record(program.name(), turn(few, many));
            }
            (_, Err(why)) => comparison.leave_out(program.name(), &why),
            (Program::Haproxy | Program::Nginx, Ok(_)) => {
                comparison.leave_out(program.name(), "nobody tells it about services");
            }
        }
    }
    Ok(comparison)
}

fn turn(few: u64, many: u64) -> Turn {
    let mebibytes = |kib| real(kib) / 1024.0;
    let (few, many) = (mebibytes(few), mebibytes(many));
    Turn {
        values: vec![(GROWTH, many - few), (FEW, few), (MANY, many)],
        errors: 0,
    }
}

/// KiB of the caller's sidecar, after it has called its services.
async fn ours(services: usize, upstream: &Upstream) -> Result<u64> {
    let name = |number: usize| format!("service-{number}");
    let documents = (0..services).map(|number| yaml::service(&name(number), 8080, "http"));
    let documents = documents.collect::<Vec<_>>().join("---\n");
    let mesh = Mesh::start(&[documents]).await?;
    let mut instances = Vec::new();
    for number in 0..CALLED.min(services) {
        let instance = mesh.sidecar(&name(number)).port(upstream.port);
        instances.push(one_worker(instance).start().await?);
    }
    let web = one_worker(mesh.sidecar("web")).start().await?;
    for number in 0..instances.len() {
        let url = format!("http://{}/", name(number));
        eventually(&format!("{url} answers"), async || {
            let answer = web.get(&url).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    tokio::time::sleep(SETTLED).await;
    rss_kib(&[web.proxy_pid()?])
}

/// KiB of the outbound proxy of a pair.
async fn theirs(
    program: Program,
    binary: &Path,
    services: usize,
    upstream: &Upstream,
) -> Result<u64> {
    let topology = Topology {
        shape: Shape::Pair,
        protocol: Protocol::Http1,
    };
    let peer = peers::start(program, binary, topology, upstream, services).await?;
    tokio::time::sleep(SETTLED).await;
    rss_kib(peer.called_pids())
}
