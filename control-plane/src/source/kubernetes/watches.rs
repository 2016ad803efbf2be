//! Watches of a cluster: a task for each kind, which tells what there is and what changes, for ever.
//!
//! Lists come in pages, watches go on from bookmarks, and begin anew after `410 Gone` and with back-off after anything else.
//! Kinds of CustomResourceDefinitions are watched in the first version of ours that the API server has; where it has none, they
//! are looked for again.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _};
use kube::{
    Api, Client, Error,
    core::{ApiResource, GroupVersionKind},
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::{debug, info};
use usher_config::kind::{Choice as _, Kind};

use super::{
    cluster::{Told, Watched},
    seen::{Documents, Keep, Pods, Seen, Services, Slices},
};

/// News that nobody has taken yet; beyond it watches wait, and the API server with them.
const NEWS_MAX: usize = 256;

/// Objects in one answer to a list.
const PAGE: u32 = 250;

/// From one look for a kind that is not installed to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The same, if nobody could say whether it is.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// After so long without its kind, no object of it is there. An API server that starts says for a while that it has none,
/// and what it is then without must not be open.
const GONE_AFTER: Duration = Duration::from_secs(300);

/// What a watch has to say.
#[derive(Debug)]
pub(super) enum News {
    /// Of objects.
    Told(Watched, Told),
    /// It does not go on, and why; it tries again.
    Failed(Watched, String),
}

/// Running until it is dropped.
#[derive(Debug)]
pub(super) struct Watches {
    pub(super) news: mpsc::Receiver<News>,
    _tasks: JoinSet<()>,
}

impl Watches {
    /// Of everything that concerns a mesh. Must be called in a tokio runtime.
    pub(super) fn start(client: &Client) -> Self {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let mut tasks = JoinSet::new();
        for watched in Watched::all() {
            let watch = Watch {
                client: client.clone(),
                watched,
                news: sender.clone(),
            };
            tasks.spawn(watch.run());
        }
        Self {
            news,
            _tasks: tasks,
        }
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Between attempts: kube's own go to 30 s, in which a mesh would be half a minute behind an API server that is back. How many
/// have failed whoever reads the events counts: kube takes the beginning of a list for success, and would ask a kind that
/// it may not read five times a second, for ever.
#[derive(Debug, Clone, Default)]
struct Pauses(Arc<AtomicU32>);

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let failed = self.0.fetch_add(1, Ordering::Relaxed);
        let pause = PAUSE_MIN.saturating_mul(1 << failed.min(10));
        Some(pause.min(PAUSE_MAX))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

impl Pauses {
    /// Something was read.
    fn worked(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// One task.
struct Watch {
    client: Client,
    watched: Watched,
    news: mpsc::Sender<News>,
}

/// Nobody listens any more.
struct Over;

impl Watch {
    async fn tell(&self, told: Told) -> Result<(), Over> {
        let news = News::Told(self.watched, told);
        self.news.send(news).await.map_err(|_| Over)
    }

    async fn failed(&self, why: String) -> Result<(), Over> {
        let failed = News::Failed(self.watched, why);
        self.news.send(failed).await.map_err(|_| Over)
    }

    /// Until nobody listens any more. One that panics is told of as one that fails, and begins anew.
    async fn run(self) {
        loop {
            match AssertUnwindSafe(self.watch()).catch_unwind().await {
                Ok(Over) => return,
                Err(_) => {
                    let why = "the watch has panicked, the log says where".to_owned();
                    if self.failed(why).await.is_err() {
                        return;
                    }
                    sleep(PAUSE_MAX).await;
                }
            }
        }
    }

    async fn watch(&self) -> Over {
        let over = match self.watched {
            Watched::Pods => self.always::<Pods>(resource("", "v1", "Pod", "pods")).await,
            Watched::Slices => {
                let group = "discovery.k8s.io";
                let slices = resource(group, "v1", "EndpointSlice", "endpointslices");
                self.always::<Slices>(slices).await
            }
            Watched::Services => {
                let services = resource("", "v1", "Service", "services");
                self.always::<Services>(services).await
            }
            Watched::Documents(kind) => self.follow_documents(kind).await,
        };
        over.map_or_else(|over| over, |never| match never {})
    }

    /// A kind that every API server has.
    async fn always<K: Keep>(&self, resource: ApiResource) -> Result<Infallible, Over> {
        loop {
            self.follow::<K>(&resource).await?;
            // Were it gone for a while, it is looked for as anything else.
            sleep(LOOK_AGAIN).await;
        }
    }

    /// A kind that may be installed.
    async fn follow_documents(&self, kind: Kind) -> Result<Infallible, Over> {
        let (mut missing, mut was_served, mut is_gone): (Option<Instant>, _, _) =
            (None, false, false);
        loop {
            match served(&self.client, kind).await {
                Ok(Some(resource)) => {
                    (missing, was_served, is_gone) = (None, true, false);
                    info!(kind = %kind, version = resource.api_version, "watching");
                    let served = (resource.api_version.clone(), resource.plural.clone());
                    self.tell(Told::IsServed(served.0, served.1)).await?;
                    self.follow::<Documents>(&resource).await?;
                }
                Ok(None) => {
                    let since = *missing.get_or_insert_with(Instant::now);
                    self.tell(Told::IsUnknown).await?;
                    // What was never seen may be what an earlier process had: it stays as it is.
                    if was_served && !is_gone && since.elapsed() >= GONE_AFTER {
                        is_gone = true;
                        self.tell(Told::Begins).await?;
                        self.tell(Told::IsWhole).await?;
                    }
                }
                Err(error) => {
                    // Time in which nobody could say is none without the kind.
                    missing = None;
                    self.failed(chain(&error)).await?;
                    sleep(ASK_AGAIN).await;
                    continue;
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Until the API server says that it has no such kind.
    async fn follow<K: Keep>(&self, resource: &ApiResource) -> Result<(), Over> {
        while self.follow_once::<K>(resource).await? == Ended::Expired {
            sleep(PAUSE_MIN).await;
        }
        Ok(())
    }

    async fn follow_once<K: Keep>(&self, resource: &ApiResource) -> Result<Ended, Over> {
        let api = Api::<Seen<K>>::all_with(self.client.clone(), resource);
        let config = watcher::Config::default().page_size(PAGE);
        // Does not end: a watch begins again, with back-off.
        let pauses = Pauses::default();
        let mut events = std::pin::pin!(watcher(api, config).backoff(pauses.clone()));
        while let Some(event) = events.next().await {
            // Nor is a first page of a list that breaks off.
            if !matches!(event, Ok(Event::Init | Event::InitApply(_)) | Err(_)) {
                pauses.worked();
            }
            let told = match event {
                Ok(Event::Init) => Told::Begins,
                Ok(Event::InitDone) => Told::IsWhole,
                Ok(Event::Apply(seen) | Event::InitApply(seen)) => match seen.kept {
                    Some((name, item)) => Told::Is(name, item),
                    None => continue,
                },
                Ok(Event::Delete(seen)) => match seen.kept {
                    Some((name, _)) => Told::IsNot(name),
                    None => continue,
                },
                Err(watcher::Error::WatchError(status)) if status.code == EXPIRED => {
                    debug!(watched = ?self.watched, "a list is read anew");
                    continue;
                }
                // Of this kube itself makes nothing: it would ask for the same again, for ever.
                Err(watcher::Error::WatchStartFailed(Error::Api(status)))
                    if status.code == EXPIRED =>
                {
                    return Ok(Ended::Expired);
                }
                Err(error) => {
                    self.failed(chain(&error)).await?;
                    if is_unknown(&error) {
                        return Ok(Ended::Unknown);
                    }
                    continue;
                }
            };
            self.tell(told).await?;
        }
        Ok(Ended::Expired)
    }
}

/// Why a watch does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// What it went on from is forgotten: the list is to be read anew.
    Expired,
    /// There is no such kind.
    Unknown,
}

/// `410 Gone`
const EXPIRED: u16 = 410;

fn is_unknown(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

/// In which version a kind is there, the first one that we know; `None`: in none.
async fn served(client: &Client, kind: Kind) -> Result<Option<ApiResource>, Error> {
    for version in kind.api_versions() {
        let Some((group, number)) = version.split_once('/') else {
            continue;
        };
        let resources = match client.list_api_group_resources(version).await {
            Ok(resources) => resources.resources,
            Err(Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error),
        };
        let mut resources = resources.into_iter();
        // Others of the kind are parts of it: `httproutes/status`.
        let found = resources.find(|one| one.kind == kind.word() && !one.name.contains('/'));
        if let Some(found) = found {
            return Ok(Some(resource(group, number, kind.word(), &found.name)));
        }
    }
    Ok(None)
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.chars().take(500).collect()
}
