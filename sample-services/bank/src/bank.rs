//! The bank as a whole: opened in order, watched, closed in the opposite order, nothing left behind.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::{
    control_plane::{self, ControlPlane},
    instance::{Death, Instance},
    layout::Layout,
    mesh_view::TellerStats,
    ports::{Ports, is_free},
    process::Stopped,
    programs::Program,
    roster::{Wave, Workload},
};

/// How long anything may take to become ready: 20 processes that start at once on a small, busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long a process may take to end: longer than a sidecar's drain grace of 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often something that takes a while is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The control plane and all instances, running or not.
#[derive(Debug)]
pub(crate) struct Bank {
    pub(crate) layout: Layout,
    pub(crate) control_plane: ControlPlane,
    instances: Vec<Instance>,
    ports: Ports,
}

/// Told while the bank opens or closes, one line each.
pub(crate) type Tell<'a> = &'a (dyn Fn(&str) + Sync);

impl Bank {
    /// A bank whose doors are closed: nothing runs yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) fn new(layout: Layout) -> anyhow::Result<Self> {
        let mut ports = Ports::new();
        let control_plane = ControlPlane::new(&layout, &mut ports)?;
        Ok(Self {
            layout,
            control_plane,
            instances: Vec::new(),
            ports,
        })
    }

    /// Starts the control plane and waits until it answers.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub(crate) async fn open_control_plane(&mut self, tell: Tell<'_>) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.control_plane.start()?;
        while !self.control_plane.is_ready().await {
            if let Some(death) = self.control_plane.death() {
                if !self.control_plane.lost_a_port() {
                    bail!(explain(&death));
                }
                // A bank that opens at the same moment was quicker: others are free.
                self.control_plane = ControlPlane::new(&self.layout, &mut self.ports)?;
                self.control_plane.start()?;
            }
            if begun.elapsed() > READY_WITHIN {
                bail!("the control plane did not answer within {READY_WITHIN:?}");
            }
            sleep(LOOK_EVERY).await;
        }
        tell(&ready_line("control-plane", begun.elapsed()));
        Ok(())
    }

    /// Adds a workload's instances and starts them, without waiting.
    ///
    /// # Errors
    /// When there is no free port or a process can't be started.
    pub(crate) fn employ(&mut self, workload: &Workload) -> anyhow::Result<()> {
        for replica in 1..=workload.replicas {
            let port = if workload.serves {
                Some(self.ports.any()?)
            } else {
                None
            };
            let mut workload = workload.clone();
            if workload.program == Program::Teller {
                workload =
                    workload.with("TELLER_STATS", self.teller_stats_file().to_string_lossy());
            }
            let mut instance =
                Instance::new(workload, replica, port, (&self.layout, &self.control_plane));
            instance.start()?;
            self.instances.push(instance);
        }
        Ok(())
    }

    /// Waits until all instances that run are ready.
    ///
    /// # Errors
    /// When one ends before, or is not ready in time.
    pub(crate) async fn all_ready(&mut self, tell: Tell<'_>) -> anyhow::Result<()> {
        let names: Vec<_> = self
            .instances
            .iter()
            .map(|instance| instance.name().to_owned())
            .collect();
        self.ready(&names, tell).await
    }

    /// Waits until the named instances are ready.
    ///
    /// # Errors
    /// When one ends before, or is not ready in time.
    pub(crate) async fn ready<S: AsRef<str>>(
        &mut self,
        names: &[S],
        tell: Tell<'_>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut waiting: Vec<_> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        loop {
            let healthy = self
                .control_plane
                .healthy_instances()
                .await
                .unwrap_or_default();
            let mut lacking = Vec::new();
            for name in waiting {
                let instance = self.instance(&name)?;
                let lack = instance.lacks().await;
                let known = instance
                    .registered_name()
                    .is_none_or(|known| healthy.contains(&known));
                match lack.or((!known).then_some("nobody is sent to it yet")) {
                    None => tell(&ready_line(&name, instance.uptime())),
                    Some(lack) => {
                        self.must_be_alive(&name)?;
                        lacking.push((name, lack));
                    }
                }
            }
            if lacking.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > READY_WITHIN {
                let log = self.layout.root().join("logs");
                bail!(
                    "not ready within {READY_WITHIN:?}: {lacking:?}; logs are in {}",
                    log.display()
                );
            }
            waiting = lacking.into_iter().map(|(name, _)| name).collect();
            sleep(LOOK_EVERY).await;
        }
    }

    /// One that died while it was to become ready is an error, unless somebody took its port meanwhile.
    fn must_be_alive(&mut self, name: &str) -> anyhow::Result<()> {
        let instance = self.instance(name)?;
        let Some(death) = instance.death() else {
            return Ok(());
        };
        match instance.port() {
            Some(port) if !is_free(port) => {
                let port = self.ports.any()?;
                let instance = self.instance(name)?;
                instance.listen_on(port);
                instance.start()
            }
            _ => bail!(explain(&death)),
        }
    }

    /// The instance of this name.
    ///
    /// # Errors
    /// When the bank employs no such instance.
    pub(crate) fn instance(&mut self, name: &str) -> anyhow::Result<&mut Instance> {
        let found = self
            .instances
            .iter_mut()
            .find(|instance| instance.name() == name);
        found.with_context(|| format!("the bank has no instance {name}"))
    }

    /// All instances, in the order they were employed.
    pub(crate) fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// Starts again what had ended: an instance, or the control plane.
    ///
    /// # Errors
    /// When there is no such process or it can't be started.
    pub(crate) fn start_again(&mut self, name: &str) -> anyhow::Result<()> {
        if name == control_plane::NAME {
            self.control_plane.start()
        } else {
            self.instance(name)?.start()
        }
    }

    /// Everything that ended and was not asked to, told once.
    pub(crate) fn deaths(&mut self) -> Vec<Death> {
        let control_plane = self.control_plane.death();
        control_plane
            .into_iter()
            .chain(self.instances.iter_mut().filter_map(Instance::death))
            .collect()
    }

    /// Lets one instance drain and end.
    ///
    /// # Errors
    /// When the kernel refuses a signal, or there is no such instance.
    pub(crate) async fn stop(&mut self, name: &str) -> anyhow::Result<Option<Stopped>> {
        self.instance(name)?.stop(STOP_WITHIN).await
    }

    /// What the teller did since it started last; all zero before it said anything.
    pub(crate) fn teller_stats(&self) -> TellerStats {
        TellerStats::read(&self.teller_stats_file()).unwrap_or_default()
    }

    /// Forgets what an earlier teller wrote.
    pub(crate) fn reset_teller_stats(&self) {
        let _ = std::fs::remove_file(self.teller_stats_file());
    }

    fn teller_stats_file(&self) -> PathBuf {
        self.layout.root().join("teller-stats.json")
    }

    /// Stops everything: who calls before whom it calls, the control plane last. Tells who had to be killed.
    pub(crate) async fn close(&mut self, tell: Tell<'_>) {
        for wave in [Wave::Callers, Wave::Middle, Wave::Leaves] {
            let leaving = self
                .instances
                .iter_mut()
                .filter(|instance| instance.wave() == wave);
            let stops = leaving.map(|instance| async {
                let stopped = instance.stop(STOP_WITHIN).await;
                (instance.name(), stopped)
            });
            for (name, stopped) in join_all(stops).await {
                tell_of_trouble(name, stopped, tell);
            }
        }
        tell_of_trouble(
            "control-plane",
            self.control_plane.stop(STOP_WITHIN).await,
            tell,
        );
    }
}

/// A death for people: who, how, and what it said last.
pub(crate) fn explain(death: &Death) -> String {
    let mut text = format!("{} ended unexpectedly ({})", death.name, death.how);
    if !death.last_lines.is_empty() {
        text.push_str("; its last lines:");
    }
    for line in &death.last_lines {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

fn ready_line(name: &str, after: Duration) -> String {
    format!("{name:<20} ready after {:.1} s", after.as_secs_f64())
}

fn tell_of_trouble(name: &str, stopped: anyhow::Result<Option<Stopped>>, tell: Tell<'_>) {
    match stopped {
        Ok(Some(Stopped::Killed { after })) => {
            tell(&format!(
                "{name} did not end within {after:?} and was killed"
            ));
        }
        Ok(Some(Stopped::Asked(_) | Stopped::Itself(_)) | None) => {}
        Err(error) => tell(&format!("{name}: {error:#}")),
    }
}
