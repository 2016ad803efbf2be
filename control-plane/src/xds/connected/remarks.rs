//! What proxies do otherwise than configured, in their words, by node; pure.
//!
//! A proxy says it when it asks whether it is admitted: perhaps before its stream is open, and not again because it opens
//! another one. So it is kept beside the streams. Whoever may be a service can give any number of instances' names, so both
//! how long and how much is bounded.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A proxy that is there asks again within a minute.
const KEPT_FOR: Duration = Duration::from_secs(180);

/// Of nodes. More than ever run otherwise than configured at once: it is gateways that have remarks.
const NODES_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Remarks(BTreeMap<String, Said>);

#[derive(Debug)]
struct Said {
    remarks: Vec<String>,
    at: Instant,
}

impl Remarks {
    /// From now on this node says that; nothing, most of the time.
    pub(super) fn said(&mut self, node: String, remarks: Vec<String>, now: Instant) {
        self.0.remove(&node);
        if remarks.is_empty() {
            return;
        }
        let is_recent = |said: &Said| now.saturating_duration_since(said.at) < KEPT_FOR;
        self.0.retain(|_, said| is_recent(said));
        while self.0.len() >= NODES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, said)| said.at);
            let Some(oldest) = oldest.map(|(node, _)| node.clone()) else {
                break;
            };
            self.0.remove(&oldest);
        }
        self.0.insert(node, Said { remarks, at: now });
    }

    /// What it said last.
    pub(super) fn of(&self, node: &str) -> &[String] {
        self.0.get(node).map_or(&[], |said| &said.remarks)
    }
}

#[cfg(test)]
mod tests;
