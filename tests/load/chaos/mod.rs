//! A thousand random steps: control planes and members of etcd are killed, frozen, cut off and started again, and roots
//! replaced, while everybody writes and traffic goes on. Is anything lost that was acknowledged, does a number of a revision ever mean two
//! configurations, is a proxy ever without configuration, does a call ever fail?
//!
//! The steps follow from a seed ([`plan`]); what the machine makes of them does not, so a seed is where to look, not a
//! recording. Everything is real: `usher serve`, `usher run`, etcd. A run stops at the first broken promise, and keeps all
//! logs.

mod ledger;
mod look;
mod plan;
mod program;
mod roots;
mod sidecars;
mod stage;
mod traffic;
mod writers;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use self::{
    plan::{Act, EACH, Step},
    sidecars::Sidecar,
    stage::Stage,
    traffic::Tally,
    writers::{APPLIERS, GHOSTS, Shared, documents},
};

/// How much, and which.
#[derive(Debug, clap::Args)]
pub(crate) struct Chaos {
    /// Steps: one thing is broken or mended in each
    #[arg(long, default_value_t = 1_000)]
    steps: u64,
    /// Which steps
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the steps of the seed, and do none
    #[arg(long)]
    plan: bool,
    /// Write what was seen here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep logs and data here, also when nothing was broken; must not exist
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// How long a sidecar may take to say whether it is ready: the machine may be busy with other things.
const READY_MAX: Duration = Duration::from_secs(60);

/// What is under chaos.
struct Run {
    stage: Stage,
    sidecars: Vec<Sidecar>,
    shared: Shared,
    tally: Arc<Tally>,
    writers: JoinSet<Result<()>>,
    acts: BTreeMap<String, u64>,
    looks: Vec<Duration>,
}

/// Fails when a promise was broken.
pub(crate) async fn run(arguments: &Chaos) -> Result<()> {
    if arguments.plan {
        print_plan(arguments);
        return Ok(());
    }
    let temporary = tempfile::Builder::new().prefix("usher-chaos-").tempdir()?;
    let folder = match &arguments.keep {
        Some(folder) => {
            std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
            std::path::absolute(folder)?
        }
        None => temporary.path().to_owned(),
    };
    eprintln!(
        "seed {}: starting etcd, control planes and sidecars in {}",
        arguments.seed,
        folder.display()
    );
    let mut run = Run::start(&folder, arguments.seed).await?;
    let traffic = traffic::start(run.callers(), run.tally.clone());
    let began = Instant::now();
    let mut rng = fastrand::Rng::with_seed(arguments.seed);
    let (mut done, mut broken) = (0, Vec::new());
    for number in 1..=arguments.steps {
        let step = Step::next(&mut rng, run.stage.state(), number);
        let answered = run.tally.answered();
        eprintln!(
            "{:>5} s  step {number}/{}: {step} · {answered} calls answered",
            began.elapsed().as_secs(),
            arguments.steps
        );
        broken = run.step(step).await;
        done = number;
        if !broken.is_empty() {
            break;
        }
    }
    run.tally.stop();
    run.writers.abort_all();
    traffic
        .join()
        .map_err(|_| anyhow::anyhow!("the load ended in a panic"))??;
    broken.extend(run.tally.take_failed());
    report(arguments, &run, (done, began.elapsed()), &broken)?;
    if !broken.is_empty() {
        let kept = temporary.keep();
        let folder = arguments.keep.as_ref().unwrap_or(&kept);
        let again = format!("usher-load chaos --seed {} --steps {done}", arguments.seed);
        anyhow::bail!(
            "broken at step {done}: {}\nlogs: {}\nagain: {again}",
            broken.join("; "),
            folder.display()
        );
    }
    Ok(())
}

fn print_plan(arguments: &Chaos) {
    let (mut rng, mut state) = (
        fastrand::Rng::with_seed(arguments.seed),
        plan::State::default(),
    );
    for number in 1..=arguments.steps {
        let step = Step::next(&mut rng, &state, number);
        state = state.after(step.act);
        println!("{number}: {step}");
    }
}

impl Run {
    async fn start(folder: &Path, seed: u64) -> Result<Self> {
        let stage = Stage::start(folder, &documents(0)).await?;
        let doors = stage.doors()?;
        let application = application(folder)?;
        let mut sidecars = Vec::new();
        for (service, number) in [("api", 0), ("api", 1), ("web", 0), ("web", 1), ("ghost", 0)] {
            let application = (service != "web").then_some(application.as_slice());
            let sidecar = Sidecar::start(folder, &doors, (service, number), application);
            sidecars.push(sidecar.await?);
        }
        let shared = Shared {
            doors,
            ledger: Arc::default(),
            quiet: Arc::default(),
            folder: folder.to_owned(),
        };
        let identity = sidecars.last().context("no sidecar")?.state.clone();
        let mut writers = JoinSet::new();
        for writer in 0..APPLIERS {
            writers.spawn(writers::apply_for_ever(shared.clone(), writer, seed));
        }
        for ghost in 0..GHOSTS {
            writers.spawn(writers::haunt_for_ever(
                shared.clone(),
                (ghost, seed),
                identity.clone(),
            ));
        }
        let mut run = Self {
            stage,
            sidecars,
            shared,
            tally: Arc::default(),
            writers,
            acts: BTreeMap::new(),
            looks: Vec::new(),
        };
        let broken = run.look(&[0, 1, 2]).await;
        ensure!(
            broken.is_empty(),
            "before anything is broken: {}",
            broken.join("; ")
        );
        Ok(run)
    }

    /// Outbound listeners.
    fn callers(&self) -> Vec<String> {
        let callers = self
            .sidecars
            .iter()
            .filter(|one| one.name.starts_with("web"));
        callers.map(|one| one.outbound.clone()).collect()
    }

    /// Which promises were broken.
    async fn step(&mut self, step: Step) -> Vec<String> {
        let name = format!("{:?}", step.act);
        let name = name.split('(').next().unwrap_or_default().to_owned();
        *self.acts.entry(name).or_default() += 1;
        self.stage.act(step.act).await;
        let until = Instant::now() + step.pause;
        let mut broken = match step.act {
            Act::Mend => self.look(&[0, 1, 2]).await,
            Act::MendOne(number) => self.look(&[number]).await,
            Act::Rotate(number) => {
                roots::begin(&self.shared, number).await;
                Vec::new()
            }
            _ => Vec::new(),
        };
        loop {
            self.stage.look_after();
            broken.extend(self.watch().await);
            if !broken.is_empty() || Instant::now() >= until {
                return broken;
            }
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(Duration::from_millis(250))).await;
        }
    }

    /// What must hold at any time.
    async fn watch(&mut self) -> Vec<String> {
        let mut broken = self.tally.take_failed();
        for sidecar in &self.sidecars {
            let ready = tokio::time::timeout(READY_MAX, sidecar.is_ready()).await;
            if !matches!(ready, Ok(Ok(()))) {
                broken.push(format!("{} has no configuration: {ready:?}", sidecar.name));
            }
        }
        while let Some(ended) = self.writers.try_join_next() {
            broken.push(format!("a writer ended: {ended:?}"));
        }
        broken.extend(self.shared.ledger().take_broken());
        broken
    }

    /// All that was acknowledged is there, at these control planes, and proxies have the newest.
    async fn look(&mut self, planes: &[usize]) -> Vec<String> {
        let quiet = Arc::clone(&self.shared.quiet);
        let _quiet = quiet.write().await;
        let looked = look::look(&mut self.stage, &self.shared, (planes, &self.sidecars)).await;
        let mut broken = Vec::new();
        match looked {
            Ok(took) => self.looks.push(took),
            Err(error) => broken.push(format!("{error:#}")),
        }
        for number in planes {
            if let Err(error) = look::read_history(&self.shared, *number).await {
                broken.push(format!("{error:#}"));
            }
        }
        if planes.len() == EACH {
            look::glance(&self.shared).await;
            if let Err(error) = roots::finish(&self.shared, look::LOOK_MAX).await {
                broken.push(format!("{error:#}"));
            }
        }
        broken.extend(self.shared.ledger().take_broken());
        broken
    }
}

/// What stands behind a sidecar: this program, as in a soak.
fn application(folder: &Path) -> Result<Vec<String>> {
    let own = std::env::current_exe()?.display().to_string();
    let ledger = folder.join("calls").display().to_string();
    Ok(vec![
        own,
        "application".to_owned(),
        "http1".to_owned(),
        ledger,
    ])
}

fn report(
    arguments: &Chaos,
    run: &Run,
    (steps, took): (u64, Duration),
    broken: &[String],
) -> Result<()> {
    let (planes, members) = run.stage.starts();
    let longest = run.looks.iter().max().copied().unwrap_or_default();
    let sum: Duration = run.looks.iter().sum();
    let mean = sum / u32::try_from(run.looks.len().max(1)).unwrap_or(1);
    let lost: usize = run.sidecars.iter().map(Sidecar::lost_leases).sum();
    let seen = json!({
        "seed": arguments.seed,
        "steps": steps,
        "seconds": took.as_secs(),
        "acts": run.acts,
        "calls": { "answered": run.tally.answered(), "slowest_ms": run.tally.slowest().as_millis() },
        "writes": run.shared.ledger().counts,
        "newest_revision": run.shared.ledger().newest(),
        "looks": { "number": run.looks.len(), "mean_ms": mean.as_millis(), "longest_ms": longest.as_millis() },
        "starts": { "control_planes": planes, "etcd": members },
        "leases_that_sidecars_registered_anew": lost,
        "broken_promises": broken,
    });
    let text = serde_json::to_string_pretty(&seen)?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, &text)?;
    }
    println!("{text}");
    Ok(())
}
