//! Writes statuses, as long as the lease is ours: a few at once, what failed again later.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::pin,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kube::{
    Api, Client, Error,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{debug, warn};
use usher_config::kind::{Choice as _, ObjectKey};

use super::{
    lease,
    status::{How, Write},
};

/// Whose fields they are.
const MANAGER: &str = "usher";

/// Writes at once, and in one go: the API server has more to do. The next look has the rest.
const AT_ONCE: usize = 4;
const IN_ONE_GO: usize = 100;

/// The same write is tried again after so long: what it leads to is seen by the watch before.
const AGAIN: Duration = Duration::from_secs(5);

/// For one write.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// A writer.
#[derive(Debug)]
pub(super) struct Writer {
    writes: mpsc::Sender<Vec<Write>>,
    /// Until when the lease is ours.
    held: watch::Receiver<Option<Instant>>,
    /// What was asked for, and when.
    asked: BTreeMap<ObjectKey, (u64, Instant)>,
    _tasks: JoinSet<()>,
}

impl Writer {
    /// Of the cluster of this client. Must be called in a tokio runtime.
    pub(super) fn start(client: &Client) -> Self {
        let (until, held) = watch::channel(None);
        // One that is under way, and no more: the next one is made of what there is then.
        let (writes, asked) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(lease::keep(client.clone(), until));
        tasks.spawn(write_all(client.clone(), asked));
        Self {
            writes,
            held,
            asked: BTreeMap::new(),
            _tasks: tasks,
        }
    }

    /// Whether anything would be written.
    pub(super) fn is_ours(&self) -> bool {
        let until = *self.held.borrow();
        until.is_some_and(|until| until > Instant::now()) && self.writes.capacity() > 0
    }

    /// Writes these, as far as that was not tried a moment ago.
    pub(super) fn write(&mut self, writes: Vec<Write>) {
        let now = Instant::now();
        self.asked.retain(|_, (_, at)| now < *at + AGAIN);
        let mut taken = Vec::new();
        for write in writes {
            let mut hash = DefaultHasher::new();
            without_times(&write.body.to_string()).hash(&mut hash);
            let hash = hash.finish();
            let is_known = self
                .asked
                .get(&write.key)
                .is_some_and(|(known, _)| *known == hash);
            if !is_known && taken.len() < IN_ONE_GO {
                self.asked.insert(write.key.clone(), (hash, now));
                taken.push(write);
            }
        }
        if !taken.is_empty() {
            // There was room, and nobody else sends.
            let _ = self.writes.try_send(taken);
        }
    }
}

/// What is written is another text each time it is made, by its times.
fn without_times(text: &str) -> String {
    let parts = text.split("\"lastTransitionTime\":\"");
    let mut parts = parts.map(|part| part.split_once('"').map_or(part, |(_, rest)| rest));
    parts.by_ref().collect()
}

async fn write_all(client: Client, mut asked: mpsc::Receiver<Vec<Write>>) {
    while let Some(writes) = asked.recv().await {
        let number = writes.len();
        let writes = writes.into_iter().map(|write| write_one(&client, write));
        let mut writes = pin!(stream::iter(writes).buffer_unordered(AT_ONCE));
        let mut failed = 0;
        while let Some(written) = writes.next().await {
            failed += usize::from(!written);
        }
        if failed > 0 {
            warn!(
                failed,
                of = number,
                "statuses of objects could not be written; trying again"
            );
        }
    }
}

/// Whether it need not be tried again.
async fn write_one(client: &Client, write: Write) -> bool {
    let (version, plural) = &write.resource;
    let Some((group, number)) = version.split_once('/') else {
        return true;
    };
    let gvk = GroupVersionKind::gvk(group, number, write.key.kind.word());
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    let api = match write.namespace.as_str() {
        "" => Api::<DynamicObject>::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let name = write.key.name.as_str();
    let written = match write.how {
        How::Apply => {
            let params = PatchParams::apply(MANAGER).force();
            let patch = Patch::Apply(&write.body);
            timeout(WRITE_MAX, api.patch_status(name, &params, &patch)).await
        }
        How::Merge => {
            let params = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(&write.body);
            timeout(WRITE_MAX, api.patch_status(name, &params, &patch)).await
        }
    };
    match written {
        Ok(Ok(_)) => true,
        // It is gone, or another by now: what it is then is looked at.
        Ok(Err(Error::Api(status))) if matches!(status.code, 404 | 409) => true,
        Ok(Err(error)) => {
            debug!(object = %write.key, %error, "status not written");
            false
        }
        Err(_) => false,
    }
}
