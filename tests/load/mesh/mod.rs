//! The control plane at scale: a real `usher serve` with thousands of simulated sidecars.
//!
//! The sidecars are connections of this process (`crowd`), the instances are registered by a few clients (`instances`), and
//! both share the machine's cores with the control plane, whose own CPU and memory are read from `/proc`. Fails when somebody
//! was not told, or was told what does not concern it; how late and how expensive it was is printed beside the bars.

mod crowd;
mod identity;
mod instances;
mod log;
mod measured;
mod observed;
mod plan;
mod report;
mod stage;
mod wire;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::process::real;
use plan::{CALLED_BY_ALL, CALLED_BY_FEW, Plan};
use report::{Cost, Report};
use stage::Stage;

/// How many, and what to do with them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Scale {
    /// Connected sidecars
    #[arg(long, value_name = "COUNT", default_value_t = 5_000)]
    sidecars: usize,
    /// Services in the mesh
    #[arg(long, value_name = "COUNT", default_value_t = 2_000)]
    services: usize,
    /// Registered instances of all services together
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    endpoints: usize,
    /// Services that each sidecar calls
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    uses: usize,
    /// Changes of endpoints whose way is followed; of routes a quarter of them
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    changes: usize,
    /// Sidecars that join one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    joins: usize,
    /// Instances that a rolling deploy replaces
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    deploy: usize,
    /// Length of the rolling deploy
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    deploy_seconds: u64,
    /// Rounds in which the cost of a change is measured; 0: not at all
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: usize,
    /// How long nothing is done after something great, before something is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    settle: u64,
    /// Fail if one of the bars is missed, once all is told
    #[arg(long)]
    strict: bool,
    /// Write every number here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the cost of a change here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Scale {
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(self.settle)).await;
    }
}

/// From the command line.
pub(crate) async fn run(arguments: &Scale) -> Result<()> {
    ensure!(
        arguments.services > 2 && arguments.endpoints >= arguments.services,
        "--services {} --endpoints {}: allowed are 3 services and more, with an endpoint each",
        arguments.services,
        arguments.endpoints
    );
    ensure!(
        arguments.deploy <= arguments.endpoints,
        "--deploy {}: allowed are up to --endpoints {}",
        arguments.deploy,
        arguments.endpoints
    );
    open_files(arguments.sidecars)?;
    let plan = Plan {
        services: arguments.services,
        endpoints: arguments.endpoints,
        uses: arguments.uses,
    };
    eprintln!(
        "starting {} services with {} endpoints",
        plan.services, plan.endpoints
    );
    let mut stage = Stage::start(plan).await?;
    arguments.settle().await;
    let mut report = Report::new(arguments, stage.rss_kib()?);
    costs(arguments, &mut stage, &mut report).await?;
    crowded(arguments, &mut stage, &mut report).await?;
    report.print();
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report.json())?)?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, report.svg())?;
    }
    let missed = report.missed();
    ensure!(
        !arguments.strict || missed.is_empty(),
        "missed: {}",
        missed.join(", ")
    );
    Ok(())
}

/// A connection has two ends, one of them here.
fn open_files(sidecars: usize) -> Result<()> {
    let wanted = u64::try_from(sidecars)? + 500;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        hard >= wanted,
        "{sidecars} sidecars take {wanted} open files here and as many in the control plane, and {hard} are allowed: \
         run `ulimit -Hn {wanted}` as root first, or use fewer --sidecars"
    );
    // The control plane inherits it.
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}

/// What a change costs with ever more sidecars, its subscribers being the same or all of them.
async fn costs(arguments: &Scale, stage: &mut Stage, report: &mut Report) -> Result<()> {
    if arguments.rounds == 0 {
        return Ok(());
    }
    let all = arguments.sidecars;
    let mut crowds = vec![all / 50, all / 5, all];
    crowds.retain(|sidecars| *sidecars >= plan::FEW);
    for sidecars in crowds {
        eprintln!("{sidecars} sidecars: what a change costs");
        stage.storm(sidecars).await?;
        arguments.settle().await;
        let few = stage.cost(CALLED_BY_FEW, arguments.rounds).await?;
        let everybody = stage.cost(CALLED_BY_ALL, arguments.rounds).await?;
        report.costs.push(Cost {
            sidecars,
            few,
            everybody,
        });
    }
    stage.everybody_has_left().await?;
    arguments.settle().await;
    Ok(())
}

/// Everything that is measured with all sidecars.
async fn crowded(arguments: &Scale, stage: &mut Stage, report: &mut Report) -> Result<()> {
    let plan = stage.plan;
    eprintln!("{} sidecars connect at once", arguments.sidecars);
    report.rss_emptied_kib = stage.rss_kib()?;
    let storm = stage.storm(arguments.sidecars).await?;
    eprintln!("{}", storm.told());
    for (why, count) in &storm.failures {
        eprintln!("  {count} × {why}");
    }
    report.storm = Some(storm);
    arguments.settle().await;
    report.rss_crowded_kib = stage.rss_kib()?;
    stage.ensure_everybody_is_right().await?;
    report.idle_cores = stage
        .idle_cores(Duration::from_secs(arguments.deploy_seconds.min(10)))
        .await?;

    eprintln!("sidecars join one after the other");
    report.joins = stage.joins(arguments.joins, false).await?;
    report.attested_joins = stage.joins(arguments.joins, true).await?;

    eprintln!("endpoints change");
    // Not those that everybody calls, or a few always the same.
    let others = 2..plan.services;
    let endpoints = others.clone().cycle().step_by(7).take(arguments.changes);
    report.endpoints = stage.endpoint_changes(endpoints).await?;
    let common = std::iter::repeat_n(CALLED_BY_ALL, arguments.changes.div_ceil(10));
    report.common = stage.endpoint_changes(common).await?;

    eprintln!("routes change");
    let routed = others.filter(|service| Plan::is_routed(*service)).cycle();
    let routes = routed.take(arguments.changes.div_ceil(4));
    report.routes = stage.route_changes(routes).await?;

    if arguments.deploy > 0 {
        eprintln!("{} endpoints are replaced", arguments.deploy);
        let length = Duration::from_secs(arguments.deploy_seconds);
        report.deploy = Some(stage.deploy(arguments.deploy, length).await?);
    }
    stage.ensure_everybody_is_right().await?;
    report.rss_end_kib = stage.rss_kib()?;
    report.failures = stage.observed().take_failures().into_iter().collect();
    report.lost_leases = stage.instances.lost();
    report.told_batches = real(stage.observed().told().batches);
    ensure!(
        stage.connected() == arguments.sidecars,
        "some sidecars are gone"
    );
    Ok(())
}
