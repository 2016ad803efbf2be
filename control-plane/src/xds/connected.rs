//! The proxies that are connected now: what each runs, for `usher status`, and how far each has followed, so
//! that an instance can wait until nobody calls it any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use usher_config::{
    value::{InstanceName, SpiffeId},
    wire::{client_feature, discovery::Node},
};

use super::{Topic, subscription::Subscriptions};
use crate::status::{NackReport, ProxyReport, Refusals};
use remarks::Remarks;

mod remarks;

/// After a proxy's progress, others that progress at the same time are waited for: ten thousand
/// acknowledgements of one change should not mean ten thousand looks through ten thousand proxies.
const GATHER: Duration = Duration::from_millis(2);

/// All streams of this control plane.
#[derive(Debug)]
pub struct Connected {
    streams: Mutex<Streams>,
    progress: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    by_id: BTreeMap<StreamId, Entry>,
    remarks: Remarks,
}

/// One stream, as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

#[derive(Debug)]
struct Entry {
    report: ProxyReport,
    /// Of services, too.
    follows_streams: bool,
    /// All changes up to this generation that concern the proxy are applied by it.
    generation: u64,
    /// The newest revision that it was compared with: what was accepted since, it may not have been told yet.
    compared: u64,
    /// To which root of the mesh the certificate of its connection leads, by its pin.
    root: Option<Arc<str>>,
    /// The services whose endpoints it was told, `namespace/service`.
    endpoints_of: BTreeSet<String>,
}

impl Default for Connected {
    fn default() -> Self {
        Self {
            streams: Mutex::default(),
            progress: watch::Sender::new(0),
        }
    }
}

impl Connected {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A proxy has opened a stream.
    pub fn joined(&self, node: &Node, identity: &SpiffeId, since: String) -> StreamId {
        let mut streams = self.streams();
        let id = StreamId(streams.next);
        streams.next += 1;
        let has = |feature: &str| node.client_features.iter().any(|one| one == feature);
        let report = ProxyReport {
            node: node.id.clone(),
            identity: identity.to_string(),
            only_calls: has(client_feature::ONLY_CALLS),
            ignores_guards: !has(client_feature::GUARDS),
            connected_since: since,
            ..ProxyReport::default()
        };
        streams.by_id.insert(
            id,
            Entry {
                report,
                follows_streams: has(client_feature::STREAM_ROUTES),
                generation: 0,
                compared: 0,
                root: None,
                endpoints_of: BTreeSet::new(),
            },
        );
        id
    }

    /// Its connection's certificate leads to this root.
    pub fn is_under(&self, id: StreamId, root: Option<Arc<str>>) {
        self.update(id, |entry| entry.root = root);
    }

    /// How many have an SVID under which root, by its pin; and how many have not applied `generation` yet.
    pub fn trust_census(&self, generation: u64) -> (BTreeMap<String, usize>, usize) {
        let streams = self.streams();
        let mut by_root = BTreeMap::new();
        for entry in streams.by_id.values() {
            if let Some(root) = &entry.root {
                *by_root.entry(root.to_string()).or_default() += 1;
            }
        }
        let entries = streams.by_id.values();
        let behind = entries.filter(|entry| entry.generation < generation);
        (by_root, behind.count())
    }

    /// Its stream has ended. What it was told, it may keep for hours; nobody waits for it.
    pub fn left(&self, id: StreamId) {
        self.streams().by_id.remove(&id);
        self.progressed();
    }

    /// It has asked for something of `topic`, or dropped it: whose endpoints it is told, or that it is a gateway.
    pub fn asked(&self, id: StreamId, topic: Topic, subscriptions: &Subscriptions) {
        match topic {
            Topic::Endpoint => {
                let names = subscriptions.names(topic);
                let services = names.filter_map(|name| name.strip_suffix("/*"));
                let services = services.map(str::to_owned).collect();
                self.follows(id, services);
            }
            Topic::Gateway => self.update(id, |entry| entry.report.is_gateway = true),
            Topic::Service | Topic::InboundPolicy | Topic::TrustBundle => {}
        }
    }

    /// It is about to be told the endpoints of these services.
    pub fn follows(&self, id: StreamId, services: BTreeSet<String>) {
        self.update(id, |entry| entry.endpoints_of = services);
    }

    /// It has applied everything up to `generation`. `revision`: it acknowledged that configuration.
    pub fn applied(&self, id: StreamId, generation: u64, revision: Option<u64>) {
        self.update(id, |entry| {
            entry.generation = entry.generation.max(generation);
            if let Some(revision) = revision {
                entry.report.revision = revision;
            }
        });
        self.progressed();
    }

    /// Whether it runs `revision`, as far as that concerns it.
    pub fn up_to_date(&self, id: StreamId, revision: u64, up_to_date: bool) {
        self.update(id, |entry| {
            entry.compared = revision;
            entry.report.up_to_date = up_to_date;
            if up_to_date {
                entry.report.applied = revision;
                entry.report.last_nack = None;
                entry.report.refuses = Refusals::default();
            }
        });
    }

    /// It has applied a revision, all of it but what it refuses.
    pub fn took(&self, id: StreamId, revision: u64, subscriptions: &Subscriptions) {
        self.update(id, |entry| {
            let report = &mut entry.report;
            report.applied = report.applied.max(revision);
            for (topic, refused) in by_topic(&mut report.refuses) {
                // What was refused before came along once more, and was taken.
                refused.retain(|name, since| {
                    let mut still = subscriptions.names_refused(topic);
                    *since >= revision || still.any(|refused| refused == name)
                });
            }
        });
        self.progressed();
    }

    /// It refuses something of a revision.
    pub fn refuses(&self, id: StreamId, revision: u64, subscriptions: &Subscriptions) {
        self.update(id, |entry| {
            for (topic, refused) in by_topic(&mut entry.report.refuses) {
                for name in subscriptions.names_refused(topic) {
                    refused.entry(name.to_owned()).or_insert(revision);
                }
            }
        });
        self.progressed();
    }

    /// It refused something.
    pub fn refused(&self, id: StreamId, nack: NackReport) {
        self.update(id, |entry| {
            entry.report.up_to_date = false;
            entry.report.last_nack = Some(nack);
        });
    }

    /// Tells of each progress, and of proxies that leave.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// What it does otherwise than configured, in its words: shown while it has a stream.
    pub fn remarked(&self, node: &InstanceName, remarks: Vec<String>) {
        let mut streams = self.streams();
        streams
            .remarks
            .said(node.to_string(), remarks, Instant::now());
    }

    /// All, by node; as seen when `revision` is the newest.
    pub fn reports(&self, revision: u64) -> Vec<ProxyReport> {
        let streams = self.streams();
        let report = |entry: &Entry| {
            let mut report = entry.report.clone();
            report.up_to_date &= entry.compared >= revision;
            report.remarks = streams.remarks.of(&report.node).to_vec();
            report.calls = entry.endpoints_of.iter().cloned().collect();
            if !entry.follows_streams {
                report.ignores_streams_of.clone_from(&entry.endpoints_of);
            }
            report
        };
        let mut reports: Vec<ProxyReport> = streams.by_id.values().map(report).collect();
        reports.sort_by(|a, b| a.node.cmp(&b.node));
        reports
    }

    /// Waits until every stream that was told the endpoints of `service` has applied `generation`, or until
    /// `deadline`; says which.
    pub async fn all_applied(&self, service: &str, generation: u64, deadline: Instant) -> bool {
        let mut progress = self.progress.subscribe();
        let waiting = async {
            while self.is_behind(service, generation) {
                if progress.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
        };
        let in_time = tokio::time::timeout_at(deadline.into(), waiting)
            .await
            .is_ok();
        in_time || !self.is_behind(service, generation)
    }

    fn is_behind(&self, service: &str, generation: u64) -> bool {
        let streams = self.streams();
        let mut followers = streams
            .by_id
            .values()
            .filter(|entry| entry.endpoints_of.contains(service));
        followers.any(|entry| entry.generation < generation)
    }

    fn update(&self, id: StreamId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.streams().by_id.get_mut(&id) {
            change(entry);
        }
    }

    fn progressed(&self) {
        self.progress
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn by_topic(refuses: &mut Refusals) -> [(Topic, &mut BTreeMap<String, u64>); 3] {
    [
        (Topic::Service, &mut refuses.services),
        (Topic::InboundPolicy, &mut refuses.inbound),
        (Topic::Gateway, &mut refuses.gateways),
    ]
}

#[cfg(test)]
mod tests;
