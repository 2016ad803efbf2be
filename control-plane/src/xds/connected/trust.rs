//! Which of the mesh's roots the connected proxies need, and know.

use std::{collections::BTreeMap, sync::Arc};

use super::{Connected, StreamId};

impl Connected {
    /// Its connection's certificate leads to this root.
    pub fn is_under(&self, id: StreamId, root: Option<Arc<str>>) {
        self.update(id, |entry| entry.root = root);
    }

    /// How many have an SVID under which root, by its pin; and how many have not applied `generation` yet, in which the
    /// roots changed.
    pub fn trust_census(&self, generation: u64) -> (BTreeMap<String, usize>, usize) {
        let streams = self.streams();
        let mut by_root = BTreeMap::new();
        for entry in streams.by_id.values() {
            if let Some(root) = &entry.root {
                *by_root.entry(root.to_string()).or_default() += 1;
            }
        }
        // Before its snapshot is there, nobody was told of it.
        let is_published = streams.published >= generation;
        let entries = streams.by_id.values();
        let behind = entries.filter(|entry| !is_published || entry.is_behind(generation));
        (by_root, behind.count())
    }
}
