//! A running mesh with simulated sidecars, and what is measured on it, one thing after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use rustls::ClientConfig;
use usher_tests::{Mesh, eventually_for};

use super::{
    crowd::{Crowd, Street, expected},
    identity,
    instances::{Instances, Place},
    log,
    measured::{Deploy, Reached, Storm},
    observed::{Observed, Told},
    plan::Plan,
    wire::Connection,
};
use crate::{
    process::{CpuClock, real, rss_kib},
    statistics::median,
};

/// A change that takes longer to reach somebody was lost.
const REACHED_MAX: Duration = Duration::from_secs(20);

/// Between two changes: each is one push, not a part of the next one's.
const APART: Duration = Duration::from_millis(120);

/// Changes whose cost is measured together.
const CHANGES: u64 = 16;

/// How long renewals may wait: a lease lives 15 s.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// After it, until every lease is renewed.
const RENEWED: Duration = Duration::from_millis(5_500);

/// How long one who leaves waits for its callers, as `usher run` does.
const LEAVING_MAX: Duration = Duration::from_secs(5);

pub(super) struct Stage {
    pub(super) mesh: Mesh,
    pub(super) plan: Plan,
    street: Arc<Street>,
    /// By account.
    identities: Vec<Arc<ClientConfig>>,
    pub(super) instances: Instances,
    crowd: Crowd,
    edits: u16,
    cpu: CpuClock,
}

impl Stage {
    /// A control plane with everything registered and nobody connected.
    pub(super) async fn start(plan: Plan) -> Result<Self> {
        let mesh = Mesh::start(&plan.documents()).await?;
        let mut identities = Vec::new();
        for account in plan.accounts() {
            let token = mesh.token(&Plan::account_name(account))?;
            identities.push(identity::attest(&mesh, &token).await?);
        }
        let mut connections = Vec::new();
        for identity in &identities {
            connections.push(Connection::open(mesh.grpc(), identity).await?);
        }
        let instances = Instances::new(plan, connections);
        instances.start().await?;
        let street = Street {
            address: mesh.grpc().to_owned(),
            observed: Observed::default(),
        };
        let pid = mesh.server_pid().context("the control plane is gone")?;
        Ok(Self {
            cpu: CpuClock::of(pid),
            mesh,
            plan,
            street: Arc::new(street),
            identities,
            instances,
            crowd: Crowd::default(),
            edits: 0,
        })
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.street.observed
    }

    pub(super) fn connected(&self) -> usize {
        self.crowd.len()
    }

    pub(super) fn rss_kib(&self) -> Result<u64> {
        let pid = self.mesh.server_pid();
        rss_kib(&[pid.context("the control plane is gone")?])
    }

    fn identity(&self, sidecar: usize) -> Result<&Arc<ClientConfig>> {
        let account = self.plan.account(self.plan.own_service(sidecar));
        self.identities.get(account).context("no such account")
    }

    /// Sidecars beyond so many leave.
    pub(super) fn leave(&mut self, left: usize) {
        self.crowd.leave(left);
    }

    /// All up to so many join at once.
    pub(super) async fn storm(&mut self, sidecars: usize) -> Result<Storm> {
        self.observed().take_first();
        self.observed().take_failures();
        let (before, begun) = (self.crowd.len(), Instant::now());
        let cpu = self.cpu.spent()?;
        for number in before..sidecars {
            let identity = self.identity(number)?.clone();
            self.crowd
                .join(number, (&self.plan, &identity), &self.street);
        }
        let (mut cores_peak, mut rss_peak_kib) = (0.0_f64, 0);
        let (mut last_cpu, mut last_at) = (cpu, begun);
        while self.observed().synchronised_count() < sidecars - before {
            ensure!(
                begun.elapsed() < Duration::from_secs(300),
                "not all have a snapshot after 5 minutes: {:?}",
                self.observed().take_failures()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
            if last_at.elapsed() > Duration::from_millis(500) {
                let (now, spent) = (Instant::now(), self.cpu.spent()?);
                let cores = (spent - last_cpu).as_secs_f64() / (now - last_at).as_secs_f64();
                cores_peak = cores_peak.max(cores);
                (last_cpu, last_at) = (spent, now);
            }
            rss_peak_kib = rss_peak_kib.max(self.rss_kib()?);
        }
        let spent = self.cpu.spent()? - cpu;
        let each = self.observed().take_first();
        let all = each.iter().max().copied().unwrap_or_default();
        Ok(Storm {
            all,
            cores_peak: cores_peak.max(spent.as_secs_f64() / begun.elapsed().as_secs_f64()),
            each,
            cpu: spent,
            rss_peak_kib,
            failures: self.observed().take_failures().into_iter().collect(),
        })
    }

    /// One after the other joins and leaves. From the start of its connection to its first full snapshot; with `attests`,
    /// from the making of its key.
    pub(super) async fn joins(&mut self, count: usize, attests: bool) -> Result<Vec<Duration>> {
        let before = self.crowd.len();
        let token = self.mesh.token(&Plan::account_name(
            self.plan.account(self.plan.own_service(before)),
        ))?;
        self.observed().take_first();
        let mut all = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            let identity = match attests {
                true => identity::attest(&self.mesh, &token).await?,
                false => self.identity(before)?.clone(),
            };
            self.crowd
                .join(before, (&self.plan, &identity), &self.street);
            while self.observed().synchronised_count() == 0 {
                ensure!(begun.elapsed() < REACHED_MAX, "a sidecar gets no snapshot");
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            let attested = begun.elapsed();
            let own = self.observed().take_first();
            all.push(match attests {
                true => attested,
                false => own.first().copied().unwrap_or_default(),
            });
            self.crowd.leave(before);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(all)
    }

    /// One endpoint of each of these services gets another address, one after the other.
    pub(super) async fn endpoint_changes(
        &mut self,
        services: impl Iterator<Item = usize>,
    ) -> Result<Reached> {
        let mut reached = Reached::default();
        for service in services {
            let instance = self.instances.of(service).into_iter().next();
            let place = (service, instance.context("a service without instances")?);
            self.edits = (self.edits + 1) % 1_000;
            let name = format!("default/{}/{}", Plan::service(service), place.1);
            let told = self.observed().told();
            self.observed().await_name(&name);
            let begun = Instant::now();
            self.instances.put(&place, self.edits).await?;
            self.reach(&mut reached, service, (begun, told)).await?;
        }
        Ok(reached)
    }

    /// The route of each of these services becomes another one.
    pub(super) async fn route_changes(
        &mut self,
        services: impl Iterator<Item = usize>,
    ) -> Result<Reached> {
        let mut reached = Reached::default();
        for service in services {
            self.edits += 1;
            let name = format!("default/{}", Plan::service(service));
            let told = self.observed().told();
            self.observed().await_name(&name);
            let text = self.plan.document(service, self.edits.into());
            let log = self.mesh.path("serve.log");
            let seen = std::fs::metadata(&log)?.len();
            let begun = Instant::now();
            self.mesh.write(&format!("{service:02}.yaml"), &text)?;
            self.reach(&mut reached, service, (begun, told)).await?;
            reached.accepted.extend(log::accepted_since(&log, seen)?);
        }
        Ok(reached)
    }

    /// All subscribers of the service are told, once, and nobody else is told anything.
    async fn reach(
        &self,
        reached: &mut Reached,
        service: usize,
        (begun, told): (Instant, Told),
    ) -> Result<()> {
        let subscribers = self.plan.subscribers(service, self.crowd.len());
        while self.observed().have() < subscribers && begun.elapsed() < REACHED_MAX {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(APART).await;
        let seen = self.observed().taken();
        ensure!(
            seen.len() == subscribers,
            "a change of {} was told {} times, it has {subscribers} subscribers",
            Plan::service(service),
            seen.len()
        );
        let batches = self.observed().told().batches - told.batches;
        ensure!(
            batches == subscribers as u64,
            "a change of {} made {batches} batches, it has {subscribers} subscribers",
            Plan::service(service)
        );
        let after = seen.iter().map(|at| at.duration_since(begun));
        reached.last.extend(after.clone().max());
        reached.each.extend(after);
        Ok(())
    }

    /// CPU that the control plane takes for one change of an endpoint of this service, in µs, above what it takes when nothing
    /// changes: the median of `rounds`.
    pub(super) async fn cost(&mut self, service: usize, rounds: usize) -> Result<f64> {
        let mut micros = Vec::new();
        for _ in 0..rounds {
            self.without_renewals(true).await;
            let (before, begun) = (self.cpu.spent()?, Instant::now());
            let mut changes = 0_u64;
            while changes < CHANGES && begun.elapsed() < PAUSE_MAX {
                self.endpoint_changes(std::iter::once(service)).await?;
                changes += 1;
            }
            let (spent, took) = (self.cpu.spent()? - before, begun.elapsed());
            self.without_renewals(false).await;
            self.without_renewals(true).await;
            let idle = self.idle_cores(PAUSE_MAX / 2).await?;
            self.without_renewals(false).await;
            let more = spent.as_secs_f64() - idle * took.as_secs_f64();
            micros.push(more * 1e6 / real(changes));
        }
        median(&micros).context("no round")
    }

    /// Renewals would be most of what is measured. After them, what waited is renewed.
    async fn without_renewals(&self, without: bool) {
        self.instances.pause(without);
        let settled = match without {
            true => Duration::from_millis(300),
            false => RENEWED,
        };
        tokio::time::sleep(settled).await;
    }

    /// Cores in use while nothing changes, over so long.
    pub(super) async fn idle_cores(&self, length: Duration) -> Result<f64> {
        let (before, begun) = (self.cpu.spent()?, Instant::now());
        tokio::time::sleep(length).await;
        Ok((self.cpu.spent()? - before).as_secs_f64() / begun.elapsed().as_secs_f64())
    }

    /// So many instances are replaced, evenly over `length`: each successor registers, then its predecessor leaves.
    pub(super) async fn deploy(&mut self, count: usize, length: Duration) -> Result<Deploy> {
        let cores_before = self
            .idle_cores((length / 4).min(Duration::from_secs(10)))
            .await?;
        let (told, cpu, begun) = (self.observed().told(), self.cpu.spent()?, Instant::now());
        let plan = self.plan;
        let step = length / u32::try_from(count)?;
        let instances = self.instances.clone();
        let replaced = (0..count).map(|number| {
            let instances = instances.clone();
            async move {
                let at = begun + step * u32::try_from(number)?;
                tokio::time::sleep_until(at.into()).await;
                let (service, instance) = plan.place(number);
                let old: Place = (service, format!("i-{instance}"));
                let new: Place = (service, format!("i-{instance}-next"));
                instances.put(&new, 0).await?;
                let leaves = Instant::now();
                let confirmed = instances.take_out(&old, LEAVING_MAX).await?;
                anyhow::Ok((confirmed, leaves.elapsed()))
            }
        });
        // All of them: each waits for its moment.
        let mut replaced = stream::iter(replaced).buffer_unordered(count);
        let (mut unconfirmed, mut left) = (0, Vec::new());
        while let Some(one) = replaced.next().await {
            let (confirmed, after) = one?;
            unconfirmed += u64::from(!confirmed);
            left.push(after);
        }
        let took = begun.elapsed();
        let cores = (self.cpu.spent()? - cpu).as_secs_f64() / took.as_secs_f64();
        Ok(Deploy {
            took,
            cores,
            cores_before,
            batches: self.observed().told().batches - told.batches,
            unconfirmed,
            left,
        })
    }

    /// Everybody holds everything that it asked for, and nothing else.
    pub(super) async fn ensure_everybody_is_right(&self) -> Result<()> {
        let astray = || {
            self.crowd.astray(|number| {
                expected((&self.plan, number), |service| self.instances.of(service))
            })
        };
        let begun = Instant::now();
        while !astray().is_empty() && begun.elapsed() < REACHED_MAX {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let astray = astray();
        let first = astray.first().cloned().unwrap_or_default();
        ensure!(astray.is_empty(), "{} are astray: {first}", astray.len());
        let told = self.observed().told();
        ensure!(
            told.uncalled_for == 0,
            "{} resources went to sidecars that had not asked for them",
            told.uncalled_for
        );
        Ok(())
    }

    /// Nobody is connected any more, as the control plane sees it.
    pub(super) async fn everybody_has_left(&mut self) -> Result<()> {
        self.leave(0);
        eventually_for(
            Duration::from_secs(60),
            "all streams have ended",
            async || {
                let status = self.mesh.ask(&["status"]).ok()?;
                let proxies = status.get("proxies")?.as_array()?;
                proxies.is_empty().then_some(())
            },
        )
        .await;
        Ok(())
    }
}
