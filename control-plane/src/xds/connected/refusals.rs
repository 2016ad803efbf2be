//! What of a revision a proxy runs, and what of it not.

use std::collections::BTreeMap;

use super::{Connected, StreamId, Subscriptions, Topic};
use crate::status::Refusals;

impl Connected {
    /// It has applied a revision, all of it but what it refuses.
    pub fn took(&self, id: StreamId, revision: u64, subscriptions: &Subscriptions) {
        self.update(id, |entry| {
            let report = entry.report();
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
            for (topic, refused) in by_topic(&mut entry.report().refuses) {
                for name in subscriptions.names_refused(topic) {
                    refused.entry(name.to_owned()).or_insert(revision);
                }
            }
        });
        self.progressed();
    }
}

fn by_topic(refuses: &mut Refusals) -> [(Topic, &mut BTreeMap<String, u64>); 3] {
    [
        (Topic::Service, &mut refuses.services),
        (Topic::InboundPolicy, &mut refuses.inbound),
        (Topic::Gateway, &mut refuses.gateways),
    ]
}
