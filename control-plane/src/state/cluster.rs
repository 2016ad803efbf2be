//! A Kubernetes cluster as the source of what the mesh is: its objects are the configuration, its pods the instances.
//!
//! Who is where comes into force at once; configuration like a directory's, one after the other. While the API server cannot
//! be asked, all stays as it is.

mod verdicts;

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};
use usher_config::{
    kind::Kind,
    model::Revision,
    parse::{Parsed, Rejected, api_file, together},
};

use crate::{
    registry::{StoreError, World, places::Moved, store::Origin},
    source::kubernetes::{Change, Configuration, Feed, is_of_pods},
    status::{MistakeReport, RejectedObject},
};

use verdicts::verdicts;

use super::{State, apply::By, configure::off_thread, lock};

/// What failures of watches are told of, in the place of an object.
const NAME: &str = "Kubernetes API";

/// Why nothing begins.
const NO_MESH_KIND: &str = "found no kind Mesh of usher.dev in the API server, which may name this mesh's trust domain, and that is \
     fixed by the first start. Apply the CustomResourceDefinitions in config/kubernetes/crds; this waits for them";

/// From one look at what is to be said of objects to the next.
const LOOK: Duration = Duration::from_secs(1);

/// After a configuration that the store did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// What became of a configuration.
type Applied = Result<Option<Revision>, StoreError>;

impl State {
    /// Takes the first configuration from a cluster, however long that takes: nothing can be said of a mesh before.
    ///
    /// # Errors
    /// The store did not take it.
    pub async fn begin_with(&self, feed: &mut Feed) -> Result<(), StoreError> {
        info!("the first configuration comes from the API server of the cluster: waiting for it");
        loop {
            match feed.next(false).await {
                Change::Places(moved) => self.place(*moved),
                Change::Trouble(why) => self.note_trouble(why),
                // Its name is for good: it is not chosen because a CustomResourceDefinition came late.
                Change::Configuration(Configuration(said))
                    if said.untold.contains(&Kind::Mesh) && self.fixed_trust_domain().is_none() =>
                {
                    warn!("{NO_MESH_KIND}");
                    self.note_trouble(Some(NO_MESH_KIND.to_owned()));
                }
                Change::Configuration(said) => {
                    self.apply_cluster(said).await?;
                    // At once: the first proxy must not be told that there is no such service.
                    self.publish(std::time::Instant::now());
                    return Ok(());
                }
            }
        }
    }

    /// Keeps the mesh as the cluster says, for ever.
    pub async fn run_cluster(&self, mut feed: Feed) {
        let mut releases = self.0.released.subscribe();
        let mut applying: Option<JoinHandle<Applied>> = None;
        let (mut trouble, mut look) = (None, Instant::now() + LOOK);
        loop {
            tokio::select! {
                change = feed.next(applying.is_some()) => match change {
                    Change::Places(moved) => self.place(*moved),
                    Change::Configuration(said) => {
                        let state = self.clone();
                        applying = Some(tokio::spawn(async move {
                            let applied = state.apply_cluster(said).await;
                            if applied.is_err() {
                                sleep(AGAIN).await;
                            }
                            applied
                        }));
                    }
                    Change::Trouble(why) => {
                        trouble = why.clone();
                        self.note_trouble(why);
                    }
                },
                () = sleep_until(look), if applying.is_none() => {
                    look = Instant::now() + LOOK;
                    if feed.wants_verdicts()
                        && let Ok(shown) = self.shown().await
                    {
                        let configuration = self.0.configuration.load();
                        let (world, compiled) = (&configuration.world, &configuration.compiled);
                        feed.tell(&verdicts(&shown, world, compiled));
                    }
                }
                applied = done(&mut applying) => {
                    match applied {
                        Ok(Some(revision)) => info!(revision = revision.number, "cluster in force"),
                        Ok(None) => {}
                        Err(error) => {
                            warn!(error = &error as &dyn std::error::Error, "configuration not accepted");
                            feed.say_again();
                        }
                    }
                    // Whatever was said about objects is new.
                    self.note_trouble(trouble.clone());
                }
                // What waited is read again, now to come into force.
                _ = releases.changed() => feed.say_again(),
            }
        }
    }

    async fn apply_cluster(&self, said: Configuration) -> Applied {
        let before = self.0.configuration.load_full();
        let parsed = off_thread(move || {
            let Configuration(said) = said;
            let kept = untold(&before.world, |kind| said.untold.contains(&kind));
            let parts = said.parts.iter().map(Arc::as_ref);
            together(parts.chain([&kept]))
        })
        .await?;
        let by = By {
            origin: Origin::Cluster,
            ..By::default()
        };
        self.apply_by(parsed, Path::new(""), by).await
    }

    /// Until a cluster has said who is there, nobody's absence proves anything, however long that takes.
    pub fn await_cluster(&self) {
        lock(&self.0.registry).awaits_cluster = true;
    }

    /// Who is where, from now on.
    pub(super) fn place(&self, moved: Moved) {
        let mut registry = lock(&self.0.registry);
        // Whoever is not there is gone: nobody else could be an instance.
        let is_first = std::mem::take(&mut registry.awaits_cluster);
        let is_settled = moved.is_all && !std::mem::replace(&mut registry.is_settled, true);
        let put = registry.instances.placed.put(moved);
        if put.changed.is_empty() && !is_settled && !is_first {
            return;
        }
        for gone in &put.gone {
            self.withdraw(&mut registry, gone);
        }
        registry.dirty.extend(put.changed);
        drop(registry);
        self.changed();
    }

    /// Says beside everything else that the cluster cannot be followed.
    fn note_trouble(&self, trouble: Option<String>) {
        let current = self.0.configuration.load_full();
        let known = current.rejected.iter();
        let others = known.filter(|rejected| rejected.object != NAME).cloned();
        let mut rejected: Vec<RejectedObject> = others.collect();
        let is_known = rejected.len() != current.rejected.len();
        if trouble.is_none() && !is_known {
            return;
        }
        rejected.extend(trouble.map(|why| RejectedObject {
            object: NAME.to_owned(),
            last_good: true,
            mistakes: vec![MistakeReport {
                at: NAME.to_owned(),
                path: String::new(),
                message: format!("the cluster cannot be followed: {why}"),
            }],
        }));
        // Somebody else has just accepted a configuration: he is told of it afterwards.
        self.0
            .configuration
            .compare_and_swap(&current, Arc::new(current.with(rejected)));
    }
}

/// What is in force of kinds of which nobody has told whether there is anything of them.
fn untold(world: &World, is_untold: impl Fn(Kind) -> bool) -> Parsed {
    let objects = world.objects.iter();
    // What pods are is told by pods.
    let objects =
        objects.filter(|(key, accepted)| is_untold(key.kind) && !is_of_pods(&accepted.object));
    let mut kept = Parsed::of(objects.map(|(_, accepted)| accepted.located()).collect());
    let denied = world.denied.iter().filter(|(key, _)| is_untold(key.kind));
    kept.rejected = denied
        .map(|(key, denied)| Rejected {
            key: key.clone(),
            named: true,
            file: api_file(key.kind, key.namespace.as_str(), key.name.as_str()),
            line: 0,
            targets: denied.targets.clone(),
        })
        .collect();
    kept
}

/// Returns when the one under way is in force; never while there is none.
async fn done(applying: &mut Option<JoinHandle<Applied>>) -> Applied {
    let Some(task) = applying else {
        return std::future::pending().await;
    };
    let applied = task.await;
    *applying = None;
    applied.unwrap_or_else(|panic| Err(StoreError::Storage(Box::new(panic))))
}

#[cfg(test)]
mod tests;
