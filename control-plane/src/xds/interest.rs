//! Who has asked for what: from a name to the streams that a change of it concerns. No I/O, no clock.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{Topic, connected::StreamId};

/// The names that streams have subscribed, turned around.
#[derive(Debug, Default)]
pub(super) struct Interest(HashMap<Arc<str>, BTreeSet<(Topic, StreamId)>>);

impl Interest {
    /// The stream wants to be told of these.
    pub(super) fn begins<'a>(
        &mut self,
        id: StreamId,
        topic: Topic,
        names: impl IntoIterator<Item = &'a str>,
    ) {
        for name in names {
            match self.0.get_mut(name) {
                Some(streams) => {
                    streams.insert((topic, id));
                }
                None => {
                    self.0.insert(name.into(), BTreeSet::from([(topic, id)]));
                }
            }
        }
    }

    /// It does no longer.
    pub(super) fn ends<'a>(
        &mut self,
        id: StreamId,
        topic: Topic,
        names: impl IntoIterator<Item = &'a str>,
    ) {
        for name in names {
            let Some(streams) = self.0.get_mut(name) else {
                continue;
            };
            streams.remove(&(topic, id));
            if streams.is_empty() {
                self.0.remove(name);
            }
        }
    }

    /// Whom a change of this concerns.
    pub(super) fn of(&self, topic: Topic, name: &str) -> impl Iterator<Item = StreamId> {
        let of_topic = (topic, StreamId::FIRST)..=(topic, StreamId::LAST);
        let streams = self.0.get(name).into_iter();
        let streams = streams.flat_map(move |streams| streams.range(of_topic.clone()));
        streams.map(|(_, id)| *id)
    }

    /// How many names there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All names of a topic, each with the streams that have asked for it.
    pub(super) fn all(&self, topic: Topic) -> Vec<(Arc<str>, Vec<StreamId>)> {
        let of_topic = (topic, StreamId::FIRST)..=(topic, StreamId::LAST);
        let asked = self.0.iter().map(|(name, streams)| {
            let streams = streams.range(of_topic.clone()).map(|(_, id)| *id);
            (name.clone(), streams.collect::<Vec<_>>())
        });
        asked.filter(|(_, streams)| !streams.is_empty()).collect()
    }
}
