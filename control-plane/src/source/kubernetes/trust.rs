//! The ConfigMap `usher-trust` in each namespace: the mesh's roots, for pods that have no identity yet and would show their
//! token to nobody else.
//!
//! Every control plane keeps them, without a leader, as each would write the same. What somebody deletes or changes comes back;
//! when roots change, all are written. Namespaces that run the cluster (`kube-…`) get none: nothing in them is ours.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, Error, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::listed::Listed;
use crate::ca::Authority;

/// As `usher inject` mounts it.
const NAME: &str = "usher-trust";
const KEY: &str = "root.pem";
/// Whose fields they are.
const MANAGER: &str = "usher-trust";

/// Writes at once: of a thousand namespaces when roots change, and the API server has more to do.
const WRITES_MAX: usize = 8;

/// For one write: longer than any admission webhook may take.
const WRITE_MAX: Duration = Duration::from_secs(35);

/// After a write that failed, doubled with each further turn of which one does.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Keeps them.
pub struct TrustMaps {
    client: Client,
    authority: Arc<Authority>,
}

/// What is known of the cluster. Pure.
#[derive(Debug, Default)]
struct Known {
    /// By name.
    namespaces: Listed<String, ()>,
    /// By namespace.
    maps: Listed<String, Option<String>>,
}

impl Known {
    fn namespace(&mut self, event: Event<Namespace>) {
        let is_ours = |namespace: &Namespace| {
            let is_ending = namespace.metadata.deletion_timestamp.is_some();
            !is_ending && !namespace.name_any().starts_with("kube-")
        };
        match event {
            Event::Init => self.namespaces.begins(),
            Event::InitDone => drop(self.namespaces.is_whole()),
            Event::Apply(namespace) | Event::InitApply(namespace) if is_ours(&namespace) => {
                self.namespaces.is(namespace.name_any(), ());
            }
            Event::Apply(namespace) | Event::Delete(namespace) => {
                self.namespaces.all.remove(&namespace.name_any());
            }
            Event::InitApply(_) => {}
        }
    }

    fn map(&mut self, event: Event<ConfigMap>) {
        let roots = |map: &mut ConfigMap| map.data.as_mut().and_then(|data| data.remove(KEY));
        match event {
            Event::Init => self.maps.begins(),
            Event::InitDone => drop(self.maps.is_whole()),
            Event::Apply(mut map) | Event::InitApply(mut map) => {
                let roots = roots(&mut map);
                self.maps.is(map.namespace().unwrap_or_default(), roots);
            }
            Event::Delete(map) => {
                self.maps.all.remove(&map.namespace().unwrap_or_default());
            }
        }
    }

    /// Where something else is written, or nothing; nowhere before both lists were read.
    fn lacking(&self, roots: &str) -> BTreeSet<String> {
        if !self.namespaces.is_whole || !self.maps.is_whole {
            return BTreeSet::new();
        }
        let namespaces = self.namespaces.all.keys();
        let lacking = namespaces.filter(|namespace| {
            let written = self.maps.all.get(*namespace).and_then(Option::as_deref);
            written != Some(roots)
        });
        lacking.cloned().collect()
    }
}

impl TrustMaps {
    /// Of the roots of `authority`.
    pub fn new(client: Client, authority: Arc<Authority>) -> Self {
        Self { client, authority }
    }

    /// For ever.
    pub async fn run(self) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let maps = Api::<ConfigMap>::all(self.client.clone());
        let ours = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        // Neither ends: a watch begins again, with back-off.
        let mut namespaces =
            pin!(watcher(namespaces, watcher::Config::default()).default_backoff());
        let mut maps = pin!(watcher(maps, ours).default_backoff());
        let mut changes = self.authority.changes();
        let (mut known, mut again, mut pause) = (Known::default(), None, PAUSE_MIN);
        // Namespaces that are not tried before `again`; all others are.
        let mut failed = BTreeSet::new();
        loop {
            tokio::select! {
                Some(event) = namespaces.next() => told(event, |event| known.namespace(event)),
                Some(event) = maps.next() => told(event, |event| known.map(event)),
                // The authority lives as long as we do.
                _ = changes.changed() => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    again = None;
                    failed.clear();
                }
            }
            let roots = self.authority.roots_pem().1;
            let more = self.write(&mut known, &roots, &failed).await;
            if more.is_empty() {
                if again.is_none() {
                    pause = PAUSE_MIN;
                }
                continue;
            }
            warn!(
                failed = more.len(),
                namespace = more.first(),
                "ConfigMaps usher-trust could not be written: pods there wait for one; trying again"
            );
            failed.extend(more);
            if again.is_none() {
                again = Some(Instant::now() + pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// Writes what is lacking, but for what has just failed; what could not be.
    async fn write(
        &self,
        known: &mut Known,
        roots: &str,
        failed: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut lacking = known.lacking(roots);
        lacking.retain(|namespace| !failed.contains(namespace));
        let writes = lacking.into_iter().map(async |namespace| {
            let written = self.write_one(&namespace, roots);
            let written = timeout(WRITE_MAX, written).await;
            (namespace, written)
        });
        let mut writes = pin!(stream::iter(writes).buffer_unordered(WRITES_MAX));
        let mut failed = BTreeSet::new();
        while let Some((namespace, written)) = writes.next().await {
            match written {
                Ok(Ok(())) => {
                    info!(namespace, "usher-trust written");
                    // The watch will say so, too.
                    let roots = Some(roots.to_owned());
                    if let Some(coming) = &mut known.maps.coming {
                        coming.insert(namespace.clone(), roots.clone());
                    }
                    known.maps.all.insert(namespace, roots);
                }
                // It goes, or went: the watch will say so.
                Ok(Err(Error::Api(status)))
                    if status.code == 404
                        || status.reason == "Forbidden"
                            && status.message.contains("being terminated") =>
                {
                    debug!(namespace, "a namespace that ends gets no usher-trust");
                    known.namespaces.all.remove(&namespace);
                }
                Ok(Err(error)) => {
                    debug!(namespace, %error, "usher-trust not written");
                    failed.insert(namespace);
                }
                Err(_) => {
                    debug!(namespace, "usher-trust not written in time");
                    failed.insert(namespace);
                }
            }
        }
        failed
    }

    async fn write_one(&self, namespace: &str, roots: &str) -> Result<(), Error> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "usher"}},
            "data": {KEY: roots},
        });
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        // The key is ours, whoever has written it meanwhile.
        let params = PatchParams::apply(MANAGER).force();
        api.patch(NAME, &params, &Patch::Apply(&map))
            .await
            .map(drop)
    }
}

fn told<T>(event: Result<Event<T>, watcher::Error>, tell: impl FnOnce(Event<T>)) {
    match event {
        Ok(event) => tell(event),
        Err(error) => debug!(%error, "a watch for usher-trust begins anew"),
    }
}

#[cfg(test)]
mod tests;
