//! Hours of everything at once: mixed load, instances that die and come back, a new configuration every second,
//! certificates that are renewed. At the end: was a request lost that could safely have been sent again, was
//! anything done twice, and do memory and open files still stand where they stood?

mod application;
mod chaos;
mod ledger;
mod root;
mod steady;
mod traffic;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use usher_tests::{Mesh, Sidecar, yaml};

pub(crate) use self::application::{Application, serve};
use self::{chaos::Replicas, ledger::Ledger, steady::Watched, traffic::Tally};
use crate::peers::one_worker;

/// How long.
#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// Minutes of load
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Which instances die, how and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write what was seen here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Between two looks at memory and files.
const SAMPLE: Duration = Duration::from_secs(10);

/// In a shorter run no certificate gets to half of its life (see `root`).
const MINUTES_OF_A_RENEWAL: u64 = 15;

/// A running mesh under load.
struct Stage {
    mesh: Mesh,
    web: Sidecar,
    until: Instant,
    ledger: Ledger,
}

/// Fails when a promise was broken.
pub(crate) async fn run(arguments: &Soak) -> Result<()> {
    ensure!(
        arguments.minutes > 0,
        "--minutes 0 is no soak; allowed: 1 and more"
    );
    let length = Duration::from_secs(arguments.minutes * 60);
    eprintln!("starting a mesh with three services of three instances each");
    let mesh = Mesh::start_prepared("127.0.0.1:0", &documents(), |data| {
        root::write(&data.join("ca"), length)
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let ledger = Ledger::at(folder.path().join("ledger"));
    let mut replicas = Replicas::start(&mesh, &ledger).await?;
    let web = one_worker(mesh.sidecar("web"))
        .argument("--tcp")
        .argument("127.0.0.1:0=stream.default:8080")
        .start()
        .await?;
    let stage = Stage {
        until: Instant::now() + length,
        mesh,
        web,
        ledger,
    };
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let traffic = traffic::start(&stage.web, tally.clone(), stop.clone())?;
    let (pushes, watched, killed) = tokio::join!(
        pushes(&stage),
        samples(&stage, &tally),
        replicas.kill_until(&stage.mesh, stage.until, arguments.seed),
    );
    stop.store(true, Ordering::Relaxed);
    traffic
        .join()
        .map_err(|_| anyhow::anyhow!("the load ended in a panic"))??;
    let story = Story {
        pushes: pushes?,
        watched: watched?,
        killed: killed?,
    };
    finish(arguments, &stage, &tally, story).await
}

/// What was done to the mesh.
struct Story {
    pushes: u64,
    watched: Watched,
    killed: serde_json::Value,
}

/// Services `api` (HTTP/1.1), `rpc` (gRPC) and `stream` (TCP), and how they are called.
fn documents() -> Vec<String> {
    let services = [("api", "http"), ("rpc", "grpc"), ("stream", "tcp")];
    let services = services.map(|(name, protocol)| yaml::service(name, 8080, protocol));
    [services.to_vec(), vec![policies(0)]].concat()
}

/// The policies of a push: each differs from the one before. The budgets are wide: whether budgets hold is another
/// test's business, and here they would hide what was lost for other reasons.
fn policies(push: u64) -> String {
    let spec = format!(
        "  timeouts: {{ request: {}s }}\n  ejection: {{ enabled: true }}\n  retry: {{ attempts: 2, budget: {{ percent: 100 }}, minRetryRate: {{ count: 100 }} }}\n",
        14 + push % 2
    );
    let policies = ["api", "rpc"].map(|service| yaml::traffic_policy(service, &spec));
    policies.join("---\n")
}

/// One each second; how many there were.
async fn pushes(stage: &Stage) -> Result<u64> {
    let mut pushes = 0;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    while Instant::now() < stage.until {
        second.tick().await;
        pushes += 1;
        // The name that `Mesh::start_prepared` gave to the last of our documents.
        stage.mesh.write("03.yaml", &policies(pushes))?;
    }
    Ok(pushes)
}

/// Memory and open files of the processes that live through it all; says how it goes.
async fn samples(stage: &Stage, tally: &Tally) -> Result<Watched> {
    let server = stage
        .mesh
        .server_pid()
        .context("the control plane is gone")?;
    let mut watched = Watched::new(&[
        ("caller's sidecar", stage.web.proxy_pid()?),
        ("control plane", server),
    ]);
    let mut clock = tokio::time::interval(SAMPLE);
    while Instant::now() < stage.until {
        clock.tick().await;
        watched.sample()?;
        let left = stage.until.saturating_duration_since(Instant::now());
        eprintln!(
            "{} s left · {} · {}",
            left.as_secs(),
            tally.line(),
            watched.line()
        );
    }
    Ok(watched)
}

async fn finish(arguments: &Soak, stage: &Stage, tally: &Tally, story: Story) -> Result<()> {
    let revision = stage.web.metric("usher_config_revision", &[]).await?;
    let ledger = stage.ledger.check(&tally.acknowledged())?;
    let mut broken = tally.broken_promises();
    broken.extend(ledger.broken_promises());
    broken.extend(story.watched.broken_promises());
    // Not by when the certificates end: all of them end with the root.
    let renewals = stage.web.metric("usher_svid_renewals_total", &[]).await?;
    let failed = &["outcome=\"failed\""];
    let renewals = renewals
        - stage
            .web
            .metric("usher_svid_renewals_total", failed)
            .await?;
    if arguments.minutes >= MINUTES_OF_A_RENEWAL && renewals < 1.0 {
        broken.push("no certificate of the caller's sidecar was renewed".to_owned());
    }
    // The control plane waits for a quiet moment and may take two edits as one.
    if revision < crate::process::real(story.pushes) / 2.0 {
        broken.push(format!(
            "the caller's sidecar has revision {revision} after {} pushes",
            story.pushes
        ));
    }
    let seen = json!({
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "load": tally.json(),
        "ledger": ledger.json(),
        "killed": story.killed,
        "pushes": story.pushes,
        "revision": revision,
        "renewals_of_the_callers_certificate": renewals,
        "processes": story.watched.json(),
        "broken_promises": broken,
    });
    let text = serde_json::to_string_pretty(&seen)?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, &text)?;
    }
    println!("{text}");
    ensure!(
        broken.is_empty(),
        "promises were broken: {}",
        broken.join("; ")
    );
    Ok(())
}
