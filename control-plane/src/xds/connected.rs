//! The proxies that are connected now: whom a change concerns, what each runs, for `usher status`, and how far each has
//! followed, so that an instance can wait until nobody calls it any more.
//!
//! A stream that a change does not concern is not looked at: it is as far as it was, and that is far enough. So a stream
//! is *behind* when it has not applied the newest snapshot that concerns it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};
use usher_config::{
    value::{InstanceName, SpiffeId},
    wire::{client_feature, discovery::Node},
};

use super::{Changes, Topic, interest::Interest, subscription::Subscriptions};
use crate::status::{NackReport, ProxyReport, Refusals};
use remarks::Remarks;

mod refusals;
mod remarks;
mod trust;

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
    interest: Interest,
    /// The newest snapshot whose changes were told of, and its configuration.
    published: u64,
    revision: u64,
    /// There will be no more snapshots.
    is_over: bool,
    remarks: Remarks,
}

/// One stream, as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    pub(super) const FIRST: Self = Self(0);
    pub(super) const LAST: Self = Self(u64::MAX);
}

#[derive(Debug)]
struct Entry {
    /// Shared with whoever looks at all of them, so that the lock is held for a moment only.
    report: Arc<ProxyReport>,
    /// Of services, too.
    follows_streams: bool,
    /// The newest snapshot that concerns the proxy.
    concerned: u64,
    /// All changes up to this generation that concern the proxy are applied by it.
    applied: u64,
    /// To which root of the mesh the certificate of its connection leads, by its pin.
    root: Option<Arc<str>>,
    wake: Arc<Notify>,
}

impl Entry {
    fn is_behind(&self, generation: u64) -> bool {
        self.applied < self.concerned.min(generation)
    }

    fn report(&mut self) -> &mut ProxyReport {
        Arc::make_mut(&mut self.report)
    }

    fn concern(&mut self, generation: u64) {
        self.concerned = self.concerned.max(generation);
        self.wake.notify_one();
    }
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

    /// A proxy has opened a stream, which is woken by the second value when something that it has asked for may be
    /// another thing.
    pub fn joined(
        &self,
        node: &Node,
        identity: &SpiffeId,
        since: String,
    ) -> (StreamId, Arc<Notify>) {
        let mut streams = self.streams();
        let id = StreamId(streams.next);
        streams.next += 1;
        let has = |feature: &str| node.client_features.iter().any(|one| one == feature);
        let report = ProxyReport {
            node: node.id.clone(),
            identity: identity.to_string(),
            only_calls: has(client_feature::ONLY_CALLS),
            ignores_guards: !has(client_feature::GUARDS),
            ignores_claims: !has(client_feature::CLAIM_RULES),
            connected_since: since,
            ..ProxyReport::default()
        };
        let wake = Arc::<Notify>::default();
        let entry = Entry {
            report: Arc::new(report),
            follows_streams: has(client_feature::STREAM_ROUTES),
            // What it brings along from an earlier stream may be older than anything.
            concerned: streams.published.max(1),
            applied: 0,
            root: None,
            wake: wake.clone(),
        };
        if streams.is_over {
            wake.notify_one();
        }
        streams.by_id.insert(id, entry);
        (id, wake)
    }

    /// Its stream has ended, with these subscriptions. What it was told, it may keep for hours; nobody waits for it.
    pub fn left(&self, id: StreamId, subscriptions: &Subscriptions) {
        let mut streams = self.streams();
        streams.by_id.remove(&id);
        for topic in Topic::ALL {
            streams.interest.ends(id, topic, subscriptions.names(topic));
        }
        drop(streams);
        self.progressed();
    }

    /// It asks to be told of these. To be called before the snapshot is looked at that it is told of: whatever comes
    /// after that one wakes it.
    pub fn subscribed(&self, id: StreamId, topic: Topic, names: &[String]) {
        let mut streams = self.streams();
        let published = streams.published;
        let names = names.iter().map(String::as_str);
        streams.interest.begins(id, topic, names);
        if let Some(entry) = streams.by_id.get_mut(&id) {
            entry.concerned = entry.concerned.max(published);
            if topic == Topic::Gateway {
                entry.report().is_gateway = true;
            }
        }
    }

    /// It does no longer.
    pub fn unsubscribed(&self, id: StreamId, topic: Topic, names: &[String]) {
        let names = names.iter().map(String::as_str);
        self.streams().interest.ends(id, topic, names);
        self.progressed();
    }

    /// There is a newer snapshot: whoever it concerns is woken, and is behind until it has applied it. Costs nothing for
    /// anybody else. To be called after streams can see it.
    pub fn published(&self, changes: &Changes) {
        let mut streams = self.streams();
        let Streams {
            by_id, interest, ..
        } = &mut *streams;
        let generation = changes.generation;
        if changes.concerns_all {
            by_id
                .values_mut()
                .for_each(|entry| entry.concern(generation));
        }
        for (topic, name) in &changes.names {
            for id in interest.of(*topic, name) {
                if let Some(entry) = by_id.get_mut(&id) {
                    entry.concern(generation);
                }
            }
        }
        if changes.is_new_revision {
            let refused = by_id
                .values_mut()
                .filter(|entry| entry.report.last_nack.is_some());
            refused.for_each(|entry| entry.concern(generation));
        }
        streams.published = streams.published.max(generation);
        streams.revision = changes.revision;
        drop(streams);
        self.progressed();
    }

    /// There will be no more snapshots: every stream is woken to end.
    pub fn end(&self) {
        let mut streams = self.streams();
        streams.is_over = true;
        streams
            .by_id
            .values()
            .for_each(|entry| entry.wake.notify_one());
    }

    /// Whether there will be no more snapshots.
    pub fn is_over(&self) -> bool {
        self.streams().is_over
    }

    /// It has applied everything up to `generation`. `revision`: it acknowledged that configuration.
    pub fn applied(&self, id: StreamId, generation: u64, revision: Option<u64>) {
        self.update(id, |entry| {
            entry.applied = entry.applied.max(generation);
            if let Some(revision) = revision {
                entry.report().revision = revision;
            }
        });
        self.progressed();
    }

    /// Whether it runs what the newest snapshot that it was compared with has for it, of this revision.
    pub fn up_to_date(&self, id: StreamId, revision: u64, up_to_date: bool) {
        self.update(id, |entry| {
            let report = entry.report();
            report.up_to_date = up_to_date;
            if up_to_date {
                report.applied = revision;
                report.last_nack = None;
                report.refuses = Refusals::default();
            }
        });
    }

    /// It refused something.
    pub fn refused(&self, id: StreamId, nack: NackReport) {
        self.update(id, |entry| {
            let report = entry.report();
            report.up_to_date = false;
            report.last_nack = Some(nack);
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

    /// All, by node; as seen when `revision` is the newest. Takes a while when they are many, but not under the lock.
    pub fn reports(&self, revision: u64) -> Vec<ProxyReport> {
        let streams = self.streams();
        let newest = streams.revision;
        let endpoints = streams.interest.all(Topic::Endpoint);
        let seen = |(id, entry): (&StreamId, &Entry)| Seen {
            id: *id,
            report: entry.report.clone(),
            follows_streams: entry.follows_streams,
            is_behind: entry.applied < entry.concerned,
            remarks: streams.remarks.of(&entry.report.node).to_vec(),
        };
        let seen: Vec<Seen> = streams.by_id.iter().map(seen).collect();
        drop(streams);

        let mut calls: BTreeMap<StreamId, BTreeSet<String>> = BTreeMap::new();
        for (name, ids) in endpoints {
            if let Some(service) = name.strip_suffix("/*") {
                for id in ids {
                    calls.entry(id).or_default().insert(service.to_owned());
                }
            }
        }
        let reports = seen.into_iter().map(|seen| {
            let calls = calls.remove(&seen.id).unwrap_or_default();
            seen.report(calls, (newest, revision))
        });
        let mut reports: Vec<ProxyReport> = reports.collect();
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
        // Before its snapshot is there, nobody was told of it.
        if streams.published < generation {
            return true;
        }
        let endpoints = format!("{service}/*");
        let mut followers = streams.interest.of(Topic::Endpoint, &endpoints);
        followers.any(|id| {
            let entry = streams.by_id.get(&id);
            entry.is_some_and(|entry| entry.is_behind(generation))
        })
    }

    /// How many names somebody has asked for.
    #[cfg(test)]
    pub(crate) fn asked_for(&self) -> usize {
        self.streams().interest.len()
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

/// A stream at one moment.
struct Seen {
    id: StreamId,
    report: Arc<ProxyReport>,
    follows_streams: bool,
    is_behind: bool,
    remarks: Vec<String>,
}

impl Seen {
    /// When streams were told of `told`, and `newest` is there.
    fn report(self, calls: BTreeSet<String>, (told, newest): (u64, u64)) -> ProxyReport {
        let mut report = Arc::unwrap_or_clone(self.report);
        report.up_to_date &= !self.is_behind && told >= newest;
        // All of it that concerns the proxy, however long ago that was.
        if report.up_to_date {
            report.applied = report.applied.max(told);
        }
        report.remarks = self.remarks;
        report.calls = calls.iter().cloned().collect();
        if !self.follows_streams {
            report.ignores_streams_of = calls;
        }
        report
    }
}

#[cfg(test)]
mod tests;
