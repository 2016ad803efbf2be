//! What happened so far: payments counted over the teller's lives, deaths, and who comes back when.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use time::{OffsetDateTime, macros::format_description};

use crate::{
    bank::Bank,
    control_plane,
    instance::Pids,
    log_tail::most_telling,
    mesh_view::{Breaker, TellerStats, Trouble},
};

/// How long a dead process stays dead: long enough to see breaker and fallback at work.
const AWAY: Duration = Duration::from_secs(8);
/// Rates are over this long.
const WINDOW: Duration = Duration::from_secs(5);
const EVENTS_MAX: usize = 8;

/// The story of one run.
#[derive(Debug)]
pub(crate) struct Watch {
    opened: Instant,
    /// Counted by tellers that ended.
    earlier: TellerStats,
    now: TellerStats,
    recent: VecDeque<(Instant, TellerStats)>,
    deaths: Vec<String>,
    coming_back: Vec<(String, Instant)>,
    events: VecDeque<String>,
    /// Events that were not told yet.
    news: Vec<String>,
    breakers: Vec<(String, Breaker)>,
    processes: BTreeMap<String, Pids>,
    /// The control plane that answered last.
    control_plane: Option<Pid>,
    /// Of the configuration that was in force when last looked at.
    revision: Option<f64>,
    troubles: Vec<Trouble>,
}

/// Payments per second, lately.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) ok: f64,
    pub(crate) declined: f64,
    pub(crate) failed: f64,
    /// Of the payments assessed lately, how many by the model and by the rules.
    pub(crate) by_model: u64,
    pub(crate) by_rules: u64,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            earlier: TellerStats::default(),
            now: TellerStats::default(),
            recent: VecDeque::new(),
            deaths: Vec::new(),
            coming_back: Vec::new(),
            events: VecDeque::new(),
            news: Vec::new(),
            breakers: Vec::new(),
            processes: BTreeMap::new(),
            control_plane: None,
            revision: None,
            troubles: Vec::new(),
        }
    }

    /// From now on the bank is open to customers.
    pub(crate) fn opened(&mut self) {
        self.opened = Instant::now();
        self.note("the bank is open");
    }

    /// Notes who died, and starts again who was away long enough.
    ///
    /// # Errors
    /// When a process can't be started.
    pub(crate) fn bring_back(&mut self, bank: &mut Bank) -> anyhow::Result<()> {
        for death in bank.deaths() {
            self.note(&format!(
                "{} ended ({}); back in {} s",
                death.name,
                death.how,
                AWAY.as_secs()
            ));
            for line in most_telling(&death.last_lines, 2) {
                self.note(&format!("  {} said: {line}", death.name));
            }
            self.coming_back
                .push((death.name.clone(), Instant::now() + AWAY));
            self.deaths.push(format!("{} ({})", death.name, death.how));
        }
        let now = Instant::now();
        let (due, away) = std::mem::take(&mut self.coming_back)
            .into_iter()
            .partition(|(_, at)| *at <= now);
        self.coming_back = away;
        let due: Vec<(String, Instant)> = due;
        for (name, _) in due {
            self.note(&format!("{name} is started again"));
            bank.start_again(&name)?;
        }
        Ok(())
    }

    /// Takes in what the teller says it has done.
    pub(crate) fn count(&mut self, stats: &TellerStats, now: Instant) {
        if stats.elapsed_ms < self.now.elapsed_ms && stats.sent < self.now.sent {
            self.earlier = self.earlier.plus(&self.now);
        }
        self.now = stats.clone();
        self.recent.push_back((now, self.total()));
        while self.recent.len() > 2 && self.recent.get(1).is_some_and(|(at, _)| now - *at > WINDOW)
        {
            self.recent.pop_front();
        }
    }

    /// Takes in the breakers of all sidecars, and notes what changed.
    pub(crate) fn see_breakers(&mut self, breakers: Vec<(String, Breaker)>) {
        for (caller, breaker) in &breakers {
            let same =
                |(by, old): &&(String, Breaker)| by == caller && old.service == breaker.service;
            let before = self
                .breakers
                .iter()
                .find(same)
                .map(|(_, old)| old.state.clone());
            if before.is_some_and(|before| before != breaker.state) {
                self.note(&format!(
                    "breaker {caller} → {}: {}",
                    breaker.service, breaker.state
                ));
            }
        }
        self.breakers = breakers;
    }

    /// Takes in whose processes are which, and notes who came back as another one.
    pub(crate) fn see_processes<'a>(&mut self, running: impl Iterator<Item = (&'a str, Pids)>) {
        for (name, pids) in running {
            // Half of an instance is one that starts or ends: neither is back.
            let Some((application, sidecar)) = pids.application.zip(pids.sidecar) else {
                continue;
            };
            let before = self.processes.insert(name.to_owned(), pids);
            if before.is_some_and(|before| before != pids) {
                self.note(&format!(
                    "{name} is back: pid {application}, sidecar {sidecar}"
                ));
            }
        }
    }

    /// Takes in which control plane answers, and notes when it is another one.
    pub(crate) fn see_control_plane(&mut self, answering: Option<Pid>) {
        let Some(pid) = answering else {
            return;
        };
        let before = self.control_plane.replace(pid);
        if before.is_some_and(|before| before != pid) {
            self.note(&format!("{} is back: pid {pid}", control_plane::NAME));
        }
    }

    /// Takes in which configuration is in force, and notes when it is a newer one.
    pub(crate) fn see_revision(&mut self, in_force: Option<f64>) {
        let Some(revision) = in_force else {
            return;
        };
        let before = self.revision.replace(revision);
        if before.is_some_and(|before| before < revision) {
            self.note(&format!("new configuration: revision {revision:.0}"));
        }
    }

    /// Takes in what the control plane complains about, and notes what is new; `command` tells more of it.
    pub(crate) fn see_troubles(&mut self, troubles: &[Trouble], command: &str) {
        let new: Vec<_> = troubles
            .iter()
            .filter(|trouble| !self.troubles.contains(trouble))
            .map(|trouble| format!("{trouble}; more: {command}"))
            .collect();
        new.iter().for_each(|trouble| self.note(trouble));
        if troubles.is_empty() && !self.troubles.is_empty() {
            self.note("nothing in the configuration is refused any more");
        }
        self.troubles = troubles.to_vec();
    }

    pub(crate) fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    pub(crate) fn breakers(&self) -> &[(String, Breaker)] {
        &self.breakers
    }

    /// Everything since the bank opened.
    pub(crate) fn total(&self) -> TellerStats {
        self.earlier.plus(&self.now)
    }

    pub(crate) fn rates(&self) -> Rates {
        let (Some((from, first)), Some((to, last))) = (self.recent.front(), self.recent.back())
        else {
            return Rates::default();
        };
        let seconds = (*to - *from).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let since = last.since(first);
        let per_second = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds;
        Rates {
            ok: per_second(since.ok + since.pending),
            declined: per_second(since.declined),
            failed: per_second(since.failed),
            by_model: since.engine("fraud-detection"),
            by_rules: since.engine("fraud-rules"),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(String::as_str)
    }

    /// What happened since this was asked last.
    pub(crate) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// No payment failed, and nobody died.
    pub(crate) fn nothing_failed(&self) -> bool {
        self.total().failed == 0 && self.deaths.is_empty()
    }

    /// Some payment was made; what is pending is one to the summary too.
    pub(crate) fn has_paid(&self) -> bool {
        let total = self.total();
        total.ok + total.pending > 0
    }

    /// The last words of a run.
    pub(crate) fn summary(&self) -> String {
        let total = self.total();
        let mut text = String::new();
        let _ = writeln!(
            text,
            "payments: {} ok, {} declined, {} failed; p50 {} ms, p99 {} ms",
            total.ok + total.pending,
            total.declined,
            total.failed,
            total.p50_us / 1000,
            total.p99_us / 1000
        );
        for (engine, count) in &total.engines {
            let _ = writeln!(text, "decided by {engine}: {count}");
        }
        if let Some(error) = total.last_error.filter(|_| total.failed > 0) {
            let _ = writeln!(text, "last failure: {error}");
        }
        for death in &self.deaths {
            let _ = writeln!(text, "ended unexpectedly: {death}");
        }
        text
    }

    fn note(&mut self, what: &str) {
        let now =
            OffsetDateTime::now_utc().format(format_description!("[hour]:[minute]:[second]Z"));
        let event = format!("{} {what}", now.unwrap_or_default());
        self.news.push(event.clone());
        self.events.push_back(event);
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
