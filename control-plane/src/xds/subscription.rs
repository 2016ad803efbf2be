//! What one proxy has asked for and been told: the bookkeeping of the delta protocol. No I/O, no clock.
//!
//! [`Subscriptions::difference`] compares it with a snapshot and returns what must be sent, noting it as
//! sent. Invariants, held by the property tests: a proxy that applies every batch holds exactly what the
//! snapshot has for its subscriptions; a name that means nothing is answered at once; nothing is sent twice
//! without a reason. An address asked for (`addr/<ip>`) is answered with the resource that it means, which says so in
//! its aliases, or as removed, and means it as long as it is asked for. Protocol: xDS "incremental" (Envoy's xds_protocol, "Subscribing to Resources").

mod bounds;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::value::SpiffeId;

use crate::snapshot::{Resource, Snapshot, Understands};

use super::Topic;
use bounds::{NAME_LENGTH_MAX, UNSETTLED_MAX, VERSION_LENGTH_MAX};
use view::{Found, View};

pub use bounds::{NAMES_MAX, RESUMED_MAX, SubscribeError};

/// Asks for everything of a topic; for endpoints, at the end of `namespace/service/*`.
const ALL: &str = "*";

/// One proxy's interests, and what it has been told of them.
#[derive(Debug, Default)]
pub struct Subscriptions {
    topics: BTreeMap<Topic, Interest>,
    answer_due: bool,
    understands: Understands,
}

#[derive(Debug, Default)]
struct Interest {
    names: BTreeSet<String>,
    told: BTreeMap<String, Told>,
    /// By resource: the addresses that were said to mean it. None: no entry.
    aliases: BTreeMap<String, BTreeSet<String>>,
    /// Sent in a batch of which another part was refused: it may not have been applied.
    doubtful: BTreeSet<String>,
    /// Refused itself, under this revision: sent again when the configuration is another.
    refused: BTreeMap<String, u64>,
    /// No longer asked for, but perhaps still on the way to a proxy that by then asks for it again.
    dropped: BTreeSet<String>,
}

/// What the proxy has of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// We sent this version.
    Version(Arc<str>),
    /// It brought this version along from an earlier stream.
    Resumed(Arc<str>),
    /// We said that there is no such thing.
    Absent,
}

/// What to send, in order; `Revision` follows. May be empty: the answer to a question that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// At most one for each topic, in the topics' order, none empty.
    pub parts: Vec<Part>,
}

/// The changes of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of what.
    pub topic: Topic,
    /// New and changed, by name.
    pub resources: Vec<(String, Resource)>,
    /// By resource: the subscribed addresses that mean it. Whatever meant it before and is not here does no longer.
    pub aliases: BTreeMap<String, BTreeSet<String>>,
    /// Gone, or never there.
    pub removed: Vec<String>,
}

impl Subscriptions {
    /// The proxy is too old for some of what guards a service: what it would leave open it is told to close.
    pub fn understand_only(&mut self, understands: Understands) {
        self.understands = understands;
    }

    /// Takes names in. A name asked for again is sent again: the proxy asks because it lacks it. `versions` is what
    /// it brings along from an earlier stream.
    ///
    /// # Errors
    /// [`SubscribeError`]; the stream cannot go on.
    pub fn subscribe(
        &mut self,
        topic: Topic,
        names: Vec<String>,
        versions: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), SubscribeError> {
        if names.iter().any(|name| name.len() > NAME_LENGTH_MAX) {
            return Err(SubscribeError::NameTooLong);
        }
        let subscribed: usize = self
            .topics
            .values()
            .map(|interest| interest.names.len())
            .sum();
        if subscribed + names.len() > NAMES_MAX {
            return Err(SubscribeError::TooMany);
        }
        self.answer_due |= !names.is_empty();
        let interest = self.topics.entry(topic).or_default();
        for name in names {
            interest.repeat(&name);
            interest.names.insert(name);
        }
        for (name, version) in versions {
            if name.len() <= NAME_LENGTH_MAX
                && version.len() <= VERSION_LENGTH_MAX
                && interest.asks_for(&name)
            {
                if interest.told.len() >= RESUMED_MAX && !interest.told.contains_key(&name) {
                    return Err(SubscribeError::TooManyResumed);
                }
                interest.told.insert(name, Told::Resumed(version.into()));
            }
        }
        Ok(())
    }

    /// The proxy has dropped these names and what they stood for.
    pub fn unsubscribe(&mut self, topic: Topic, names: &[String]) {
        let Some(interest) = self.topics.get_mut(&topic) else {
            return;
        };
        for name in names {
            interest.forget(name);
            interest.names.remove(name);
        }
    }

    /// Everything sent was answered: nothing is on the way any more.
    pub fn nothing_in_flight(&mut self) {
        self.topics
            .values_mut()
            .for_each(|interest| interest.dropped.clear());
    }

    /// Whether what is kept because of the proxy's answers, or for want of them, has come to its bound.
    ///
    /// # Errors
    /// [`SubscribeError::TooManyUnsettled`]; the stream cannot go on.
    pub fn bounded(&self) -> Result<(), SubscribeError> {
        let of = |interest: &Interest| {
            interest.doubtful.len() + interest.refused.len() + interest.dropped.len()
        };
        let unsettled: usize = self.topics.values().map(of).sum();
        if unsettled > UNSETTLED_MAX {
            return Err(SubscribeError::TooManyUnsettled);
        }
        Ok(())
    }

    /// The names asked for.
    pub fn names(&self, topic: Topic) -> impl Iterator<Item = &str> {
        self.topics
            .get(&topic)
            .into_iter()
            .flat_map(|interest| &interest.names)
            .map(String::as_str)
    }

    /// What the proxy refused and does without.
    pub fn names_refused(&self, topic: Topic) -> impl Iterator<Item = &str> {
        let interest = self.topics.get(&topic).into_iter();
        interest.flat_map(|interest| interest.refused.keys().map(String::as_str))
    }

    /// The proxy refused these under `revision`; they are kept back until the configuration is another.
    pub fn refused(&mut self, topic: Topic, names: Vec<String>, revision: u64) {
        let interest = self.topics.entry(topic).or_default();
        for name in names {
            interest.doubtful.remove(&name);
            interest.refused.insert(name, revision);
        }
    }

    /// These travelled with something that was refused: they are sent once more, without it.
    pub fn doubt(&mut self, topic: Topic, names: Vec<String>) {
        let interest = self.topics.entry(topic).or_default();
        interest.doubtful.extend(
            names
                .into_iter()
                .filter(|name| !interest.refused.contains_key(name)),
        );
    }

    /// Whether everything that was sent and is still wanted was taken.
    pub fn is_clean(&self) -> bool {
        self.topics
            .values()
            .all(|interest| interest.doubtful.is_empty() && interest.refused.is_empty())
    }

    /// What the proxy must be told for its subscriptions to be as in `snapshot`; noted as told. `None`: nothing.
    ///
    /// An `InboundPolicy` is shown only to whom configuration lets be that service.
    pub fn difference(&mut self, snapshot: &Snapshot, identity: &SpiffeId) -> Option<Batch> {
        let view = View {
            snapshot,
            identity,
            understands: self.understands,
        };
        let mut batch = Batch::default();
        for (topic, interest) in &mut self.topics {
            let part = interest.difference(*topic, &view);
            if !part.resources.is_empty() || !part.removed.is_empty() {
                batch.parts.push(part);
            }
        }
        let due = std::mem::take(&mut self.answer_due);
        (due || !batch.parts.is_empty()).then_some(batch)
    }
}

impl Interest {
    fn asks_for(&self, name: &str) -> bool {
        let set = name
            .rsplit_once('/')
            .map(|(service, _)| format!("{service}/{ALL}"));
        let asked = |name: &str| self.names.contains(name);
        asked(name) || asked(ALL) || set.is_some_and(|set| asked(&set))
    }

    /// Everything under `name` is told again. Not forgotten: what is gone by now must still be taken back.
    fn repeat(&mut self, name: &str) {
        self.told
            .retain(|other, told| other != name || *told != Told::Absent);
        self.doubtful.extend(
            self.told
                .keys()
                .filter(|other| covers(name, other))
                .cloned(),
        );
        let meant = self.aliases.iter().filter(|(_, by)| by.contains(name));
        self.doubtful.extend(meant.map(|(other, _)| other.clone()));
        // What was on the way when the proxy dropped the name arrives after it has asked again, and stays.
        self.doubtful
            .extend(self.dropped.extract_if(.., |other| covers(name, other)));
    }

    fn forget(&mut self, name: &str) {
        self.aliases.retain(|_, by| {
            by.remove(name);
            !by.is_empty()
        });
        for (other, told) in self.told.extract_if(.., |other, _| covers(name, other)) {
            if told != Told::Absent {
                self.dropped.insert(other);
            }
        }
        self.doubtful.retain(|other| !covers(name, other));
        self.refused.retain(|other, _| !covers(name, other));
    }

    fn difference(&mut self, topic: Topic, view: &View<'_>) -> Part {
        let mut wanted: BTreeMap<&str, &Resource> = BTreeMap::new();
        let mut unknown: BTreeSet<&str> = BTreeSet::new();
        let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in &self.names {
            match view.lookup(topic, name) {
                Found::One(canonical, resource) => {
                    wanted.insert(canonical, resource);
                }
                Found::Set(endpoints) => {
                    wanted.extend(
                        endpoints
                            .iter()
                            .map(|(name, resource)| (name.as_str(), resource)),
                    );
                }
                Found::Meant(services) => {
                    for (canonical, resource) in services {
                        let by = aliases.entry(canonical.to_owned()).or_default();
                        by.insert(name.clone());
                        wanted.insert(canonical, resource);
                    }
                }
                Found::Nothing => {
                    unknown.insert(name);
                }
            }
        }

        let number = view.snapshot.revision().number;
        let mut again: BTreeSet<String> = std::mem::take(&mut self.doubtful);
        self.refused.retain(|name, revision| {
            let keep = *revision == number;
            if !keep {
                again.insert(name.clone());
            }
            keep
        });
        // That an address means nothing is not said again when it means something.
        let has_meaning = |name: &String| aliases.values().any(|by| by.contains(name));
        again.retain(|name| !has_meaning(name));

        let mut part = Part {
            topic,
            resources: Vec::new(),
            aliases: BTreeMap::new(),
            removed: Vec::new(),
        };
        for (name, resource) in &wanted {
            let same = match self.told.get(*name) {
                Some(Told::Version(version) | Told::Resumed(version)) => {
                    *version == resource.version
                }
                Some(Told::Absent) | None => false,
            };
            let same_aliases = self.aliases.get(*name) == aliases.get(*name);
            if !same || !same_aliases || again.contains(*name) {
                if let Some(by) = aliases.get(*name) {
                    part.aliases.insert((*name).to_owned(), by.clone());
                }
                part.resources
                    .push(((*name).to_owned(), (*resource).clone()));
                // What is sent now is another version, or another try.
                self.refused.remove(*name);
            }
            self.told
                .insert((*name).to_owned(), Told::Version(resource.version.clone()));
        }

        self.aliases = aliases;
        part.removed = gone(&mut self.told, &wanted, &unknown, again, view);
        self.refused.retain(|name, _| !part.removed.contains(name));
        part
    }
}

/// What the proxy must be told is not there (any more), noted as told.
fn gone(
    told: &mut BTreeMap<String, Told>,
    wanted: &BTreeMap<&str, &Resource>,
    unknown: &BTreeSet<&str>,
    again: BTreeSet<String>,
    view: &View<'_>,
) -> Vec<String> {
    let mut removed: BTreeSet<String> = BTreeSet::new();
    let mut spared: BTreeSet<&str> = BTreeSet::new();
    told.retain(|name, held| {
        if wanted.contains_key(name.as_str()) || *held == Told::Absent {
            return wanted.contains_key(name.as_str()) || unknown.contains(name.as_str());
        }
        if matches!(held, Told::Resumed(_)) && view.spares(name) {
            spared.extend(unknown.iter().filter(|unknown| covers(unknown, name)));
            return true;
        }
        removed.insert(name.clone());
        false
    });
    for name in unknown.difference(&spared) {
        if told.insert((*name).to_owned(), Told::Absent) != Some(Told::Absent) {
            removed.insert((*name).to_owned());
        }
    }
    // Removals that may not have been applied; what is spared was never removed.
    let is_spared = |name: &String| matches!(told.get(name), Some(Told::Resumed(_)));
    removed.extend(
        again
            .into_iter()
            .filter(|name| !wanted.contains_key(name.as_str()) && !is_spared(name)),
    );
    removed.into_iter().collect()
}

/// Whether who asks for `asked` (a name, or a set such as `namespace/service/*`) is told of `name`.
fn covers(asked: &str, name: &str) -> bool {
    asked == name
        || asked
            .strip_suffix(ALL)
            .is_some_and(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests;
