//! What a cluster says, as it comes: gathered for a moment, so that a rollout is a few changes and not thousands.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use usher_config::{
    kind::ObjectKey,
    value::{Name, ServiceName},
};

use super::{
    cluster::{Cluster, Places, Said, Told, Watched},
    status::Verdict,
    watches::{News, Watches},
    writer::Writer,
};
use crate::clock::now_text;

/// A burst is over after so long without news, and told of after this time in any case.
const QUIET: Duration = Duration::from_millis(10);
const BURST_MAX: Duration = Duration::from_millis(100);

/// A watch that has failed is believed to work again after so long without another failure (attempts are 5 s apart, and take some
/// time): one that works and has nothing to say is silent.
const FAILING_FOR: Duration = Duration::from_secs(30);

/// How long a watch may fail before anybody is bothered: an API server that is started anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// From one look at failures to the next.
const LOOK: Duration = Duration::from_secs(1);

/// A change.
#[derive(Debug)]
pub enum Change {
    /// Of who is where.
    Places(Box<crate::registry::places::Moved>),
    /// Of the configuration.
    Configuration(Configuration),
    /// The API server cannot be asked, and why; `None`: it can again.
    Trouble(Option<String>),
}

/// All that is configured.
#[derive(Debug)]
pub struct Configuration(pub(crate) Said);

/// A cluster, followed.
#[derive(Debug)]
pub struct Feed {
    watches: Watches,
    cluster: Cluster,
    /// When the burst under way began, and its last news.
    burst: Option<(Instant, Instant)>,
    /// Since when watches fail, when they did last, and why.
    failing: BTreeMap<Watched, (Instant, Instant, String)>,
    /// What was told of that.
    trouble: Option<String>,
    look: Instant,
    /// What was told of pods behind a Service that answer as another.
    strangers: BTreeMap<ServiceName, Name>,
    is_told: bool,
    writer: Writer,
}

impl Feed {
    /// Of the cluster of this client. Must be called in a tokio runtime.
    pub fn start(client: &Client) -> Self {
        Self {
            watches: Watches::start(client),
            cluster: Cluster::default(),
            burst: None,
            failing: BTreeMap::new(),
            trouble: None,
            look: Instant::now() + LOOK,
            strangers: BTreeMap::new(),
            is_told: false,
            writer: Writer::start(client),
        }
    }

    /// The configuration is told again, although it is as it was.
    pub fn say_again(&mut self) {
        self.cluster.say_again();
        let now = Instant::now();
        self.burst.get_or_insert((now, now));
    }

    /// Whether statuses are ours to write, and nothing is known that was not said yet.
    pub fn wants_verdicts(&self) -> bool {
        self.is_told && self.burst.is_none() && self.writer.is_ours()
    }

    /// What is to be said of objects, in their statuses.
    pub fn tell(&mut self, verdicts: &BTreeMap<ObjectKey, Verdict>) {
        let writes = self.cluster.writes(verdicts, &now_text());
        self.writer.write(writes);
    }

    /// The next change. `is_busy`: another configuration would come too early. Nothing is lost if it is not waited for.
    pub async fn next(&mut self, is_busy: bool) -> Change {
        loop {
            if let Some(change) = self.due(is_busy, Instant::now()) {
                return change;
            }
            let wake = self.over().map_or(self.look, |over| over.min(self.look));
            tokio::select! {
                news = self.watches.news.recv() => {
                    let now = Instant::now();
                    let Some(news) = news else {
                        // Watches end only with a runtime that ends.
                        return std::future::pending().await;
                    };
                    self.take(news, now);
                    while let Ok(news) = self.watches.news.try_recv() {
                        self.take(news, now);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// When the burst is.
    fn over(&self) -> Option<Instant> {
        let (began, last) = self.burst?;
        Some((last + QUIET).min(began + BURST_MAX))
    }

    fn take(&mut self, news: News, now: Instant) {
        match news {
            News::Told(watched, told) => {
                // A list that was read whole; of less, one that fails again and again has some, too.
                if matches!(told, Told::IsWhole) {
                    self.failing.remove(&watched);
                }
                self.cluster.tell(watched, told);
                let (_, last) = self.burst.get_or_insert((now, now));
                *last = now;
            }
            News::Failed(watched, why) => {
                let known = self.failing.get(&watched);
                let since = known.map_or(now, |(since, _, _)| *since);
                self.failing.insert(watched, (since, now, why));
            }
        }
    }

    fn due(&mut self, is_busy: bool, now: Instant) -> Option<Change> {
        if now >= self.look {
            self.look = now + LOOK;
            let trouble = self.trouble_at(now);
            if trouble != self.trouble {
                match &trouble {
                    Some(why) => warn!(
                        why,
                        "the cluster cannot be followed, what is in force stays"
                    ),
                    None => info!("the cluster is followed again"),
                }
                self.trouble.clone_from(&trouble);
                return Some(Change::Trouble(trouble));
            }
        }
        if self.over().is_none_or(|over| over > now) {
            return None;
        }
        if let Some(Places { moved, strangers }) = self.cluster.places() {
            self.meet(strangers, &moved.namespaces);
            return Some(Change::Places(Box::new(moved)));
        }
        if is_busy {
            // Asked for again when the other one is in force.
            self.burst = Some((now, now + BURST_MAX));
            return None;
        }
        self.burst = None;
        let said = self.cluster.said()?;
        if !std::mem::replace(&mut self.is_told, true) {
            info!(objects = said.parts.len(), "the cluster was read");
        }
        Some(Change::Configuration(Configuration(said)))
    }

    fn trouble_at(&mut self, now: Instant) -> Option<String> {
        self.failing
            .retain(|_, (_, last, _)| now < *last + FAILING_FOR);
        if let Some(watched) = self.cluster.is_beyond() {
            return Some(format!("{watched:?}: there are more than can be followed"));
        }
        let lasting = self.failing.iter();
        let mut lasting = lasting.filter(|(_, (since, _, _))| now >= *since + PATIENCE);
        let (watched, (_, _, why)) = lasting.next()?;
        Some(match lasting.count() {
            0 => format!("{watched:?}: {why}"),
            more => format!("{watched:?} and {more} more: {why}"),
        })
    }

    /// Whoever wonders why a pod is not called finds it in the log, once.
    fn meet(
        &mut self,
        strangers: BTreeMap<ServiceName, Name>,
        namespaces: &std::collections::BTreeSet<Name>,
    ) {
        for (service, name) in &strangers {
            if self.strangers.get(service) != Some(name) {
                warn!(
                    %service, answers_as = %name,
                    "pods of a Service are not called by it: their sidecars answer as another one; annotate their template \
                     usher.dev/service: {}", service.name
                );
            }
        }
        self.strangers
            .retain(|service, _| !namespaces.contains(&service.namespace));
        self.strangers.extend(strangers);
    }
}
