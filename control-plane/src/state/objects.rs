//! What became of each object, gathered from everything that knows something about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use usher_config::kind::{Choice as _, ObjectKey};

use crate::{
    clock,
    compile::reach::{Reach, reach},
    registry::object_key,
    status::{Condition, ObjectReport, ProxyReport, RejectedObject, count},
};

use super::{
    Inner, State,
    conditions::{Known, Proxies, conditions},
    configuration::Configuration,
    configure::off_thread,
    lock,
};

/// Acknowledgements of one change that come within this time are looked at together.
const GATHER: Duration = Duration::from_secs(1);

/// Looking takes at most this share of the time.
const PAUSE_FACTOR: u32 = 50;

impl State {
    /// What became of each object, by kind, namespace and name.
    pub fn objects(&self) -> Vec<ObjectReport> {
        let configuration = self.0.configuration.load_full();
        let newest = configuration.configured.revision.number;
        let proxies = self.0.connected.reports(newest);
        let found = self.found(&configuration, &proxies);
        self.objects_of(&configuration, &proxies, &found)
    }

    /// The version in force of an object, as canonical YAML.
    pub fn text_of(&self, key: &ObjectKey) -> Option<Arc<str>> {
        let configuration = self.0.configuration.load();
        let accepted = configuration.world.objects.get(key)?;
        Some(Arc::clone(&accepted.text))
    }

    /// The same, of what is known already.
    pub(super) fn objects_of(
        &self,
        configuration: &Configuration,
        proxies: &[ProxyReport],
        found: &[Condition],
    ) -> Vec<ObjectReport> {
        let mut objects = objects(configuration, proxies, found);
        let stamped = objects.iter_mut().map(|(key, report)| {
            let accepted = configuration.world.objects.get(key);
            let at = accepted.map(|accepted| accepted.accepted_at);
            (&*key, at, report.conditions.as_mut_slice())
        });
        lock(&self.0.transitions).stamp(stamped, SystemTime::now());
        objects.into_iter().map(|(_, report)| report).collect()
    }
}

fn objects(
    configuration: &Configuration,
    proxies: &[ProxyReport],
    found: &[Condition],
) -> Vec<(ObjectKey, ObjectReport)> {
    let (world, compiled) = (&configuration.world, &configuration.compiled);
    let reach = configuration.reach.get_or_init(|| reach(world, compiled));
    let proxies = Proxies::new(proxies, compiled);
    let rejected: BTreeMap<&str, &RejectedObject> = configuration
        .rejected
        .iter()
        .map(|rejected| (rejected.object.as_str(), rejected))
        .collect();
    let mut about: BTreeMap<&str, Vec<&Condition>> = BTreeMap::new();
    for one in found {
        about.entry(&one.object).or_default().push(one);
    }
    let written = rejected.keys().filter_map(|name| object_key(name).ok());
    let waiting: BTreeSet<&ObjectKey> = configuration.waiting.iter().collect();
    let written = written.chain(configuration.waiting.iter().cloned());
    let keys = world.objects.keys().chain(world.denied.keys()).cloned();
    let keys: BTreeSet<ObjectKey> = keys.chain(written).collect();
    let report = |key: ObjectKey| {
        let name = key.to_string();
        let accepted = world.objects.get(&key);
        let denied = world.denied.get(&key).map(|denied| denied.file.as_str());
        let file = accepted.map(|one| &*one.file).or(denied);
        let reached = proxies.reached(reach.get(&key));
        let revision = configuration.changed_in.get(&key).copied();
        let known = Known {
            revision: accepted.and(revision),
            newest: configuration.configured.revision.number,
            refused: rejected.get(name.as_str()).copied(),
            unreadable: file.and_then(|file| rejected.get(file).copied()),
            waits: configuration.pinned().filter(|_| waiting.contains(&key)),
            found: about.get(name.as_str()).map_or(&[], Vec::as_slice),
            reached: &reached,
        };
        let report = ObjectReport {
            kind: key.kind.word().to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            file: file.unwrap_or_default().to_owned(),
            revision: known.revision.unwrap_or(0),
            accepted_at: accepted
                .map(|one| clock::text(one.accepted_at))
                .unwrap_or_default(),
            programmed: count(reached.programmed(revision.unwrap_or(known.newest))),
            of: count(reached.of()),
            conditions: conditions(&known),
        };
        (key, report)
    };
    keys.into_iter().map(report).collect()
}

/// By object; one that nobody is told of has no entry.
pub(super) type Reaches = BTreeMap<ObjectKey, Reach>;

/// Notices since when conditions are as they are, also while nobody asks.
pub(super) async fn watch_conditions(state: Weak<Inner>) {
    let Some((mut changes, mut progress)) = state.upgrade().map(|state| {
        let progress = state.connected.progress();
        (state.changes.subscribe(), progress)
    }) else {
        return;
    };
    loop {
        let Some(current) = state.upgrade().map(State) else {
            return;
        };
        let began = Instant::now();
        // An error is a panic in it, which has been logged.
        let _ = off_thread(move || current.objects().len()).await;
        let took = began.elapsed();
        let ended = tokio::select! {
            changed = changes.changed() => changed.is_err(),
            changed = progress.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
        tokio::time::sleep(GATHER.max(took * PAUSE_FACTOR)).await;
    }
}
