//! A cluster as its watches tell it, and what a mesh makes of it. Pure: events in, desired state out.
//!
//! ```text
//! pod slice service document   what is kept of each object          text    asking a JSON value, whatever it is
//! others                       what of Gateway API is none of ours   said  places, and the configuration
//! workloads                    pods with sidecars → Workloads       placing EndpointSlices and pods → places of services
//! ```
//!
//! No configuration is said before every watch has told all that there is, once, and no places before those that they are made
//! of: what is not there yet must not count as deleted. A
//! list that is read anew counts once it is whole ([`super::listed`]). So a watch that fails leaves all as it was.

mod text;
mod pod;
mod slice;
mod service;
mod others;
mod document;
mod workloads;
mod placing;
mod said;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::{
    kind::{Choice as _, Kind, Object},
    parse::{Located, Positions, api_file},
    value::Name,
};

use super::listed::Listed;

pub(super) use document::{Current, Document, name_of};
pub(super) use pod::Pod;
pub(crate) use said::{Places, Said};
pub(super) use slice::Slice;
pub(crate) use workloads::is_of_pods;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watched {
    /// core/v1
    Pods,
    /// discovery.k8s.io/v1
    Slices,
    /// core/v1
    Services,
    /// The mesh's own configuration.
    Documents(Kind),
}

impl Watched {
    /// All of it.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        // Anybody may write ConfigMaps, as large and as many as he likes: to watch all for a few certificates is no bargain.
        let is_document =
            |kind: &Kind| !matches!(kind, Kind::Service | Kind::EndpointSlice | Kind::ConfigMap);
        let kinds = Kind::ALL.iter().map(|(_, kind)| *kind).filter(is_document);
        let others = [Self::Pods, Self::Slices, Self::Services];
        others.into_iter().chain(kinds.map(Self::Documents))
    }
}

/// As the API server names an object: its namespace, empty if it has none, and its name.
pub(super) type ApiName = (String, String);

/// What is kept of an object.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Pod(Pod),
    Slice(Slice),
    Service(Arc<Located>),
    Document(Document),
    /// It is of no interest.
    Nothing,
}

impl Item {
    /// What a mesh has of a Service of the cluster.
    pub(super) fn service((namespace, name): &ApiName, object: &serde_json::Value) -> Self {
        let names = namespace
            .parse::<Name>()
            .ok()
            .zip(name.parse::<Name>().ok());
        let found = names.and_then(|(namespace, name)| service::service(&namespace, &name, object));
        found.map_or(Self::Nothing, |service| {
            Self::Service(located(Object::Service(service)))
        })
    }
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// A list begins.
    Begins,
    /// An object is there.
    Is(ApiName, Item),
    /// An object is gone.
    IsNot(ApiName),
    /// A list has ended.
    IsWhole,
    /// The API server has no such kind.
    IsUnknown,
    /// It has it, in this version and under this plural.
    IsServed(String, String),
}

/// Of what a watch keeps.
trait Kept: Sized {
    /// `None`: it is of no interest.
    fn of(item: Item) -> Option<Self>;

    /// Whether it means the same.
    fn is_as(&self, other: &Self) -> bool;

    /// It means the same as `before`, of which more is known.
    fn known_as(&mut self, before: Self) {
        drop(before);
    }
}

impl Kept for Pod {
    fn of(item: Item) -> Option<Self> {
        match item {
            Item::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Kept for Slice {
    fn of(item: Item) -> Option<Self> {
        match item {
            Item::Slice(slice) => Some(slice),
            _ => None,
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Kept for Arc<Located> {
    fn of(item: Item) -> Option<Self> {
        match item {
            Item::Service(service) => Some(service),
            _ => None,
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl Kept for Document {
    fn of(item: Item) -> Option<Self> {
        match item {
            Item::Document(document) => Some(document),
            _ => None,
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        self.is_as(other)
    }

    fn known_as(&mut self, before: Self) {
        self.known_as(before);
    }
}

/// Where something has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Touched {
    Nothing,
    /// In this namespace.
    One(String),
    Everything,
}

/// Everything that is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pods: Listed<ApiName, Pod>,
    slices: Listed<ApiName, Slice>,
    services: Listed<ApiName, Arc<Located>>,
    documents: BTreeMap<Kind, Listed<ApiName, Document>>,
    /// Kinds that the API server does not have.
    unknown: BTreeSet<Kind>,
    /// In which version it has the others, and their plurals.
    served: BTreeMap<Kind, (String, String)>,
    /// By namespace: what pods there are Workloads of.
    workloads: BTreeMap<String, Vec<Arc<Located>>>,
    /// Namespaces of which something was said.
    spoken: BTreeSet<String>,
    /// Namespace and name of accounts that some pod with a sidecar has had.
    accounts: BTreeSet<(Name, Name)>,
    /// The accounts of Workloads that somebody has written, as of their last versions without mistakes.
    good: BTreeMap<(Name, Name), Name>,
    /// Where somebody came, went, or is another since places were asked for.
    moved: BTreeSet<String>,
    /// Something of the configuration has changed since it was asked for.
    is_edited: bool,
}

impl Cluster {
    /// Takes in what a watch has told.
    pub(super) fn tell(&mut self, watched: Watched, told: Told) {
        match watched {
            Watched::Pods => {
                let touched = tell(&mut self.pods, told);
                self.touch(touched);
            }
            Watched::Slices => {
                let touched = tell(&mut self.slices, told);
                self.touch(touched);
            }
            Watched::Services => {
                let touched = tell(&mut self.services, told);
                self.is_edited |= touched != Touched::Nothing;
                self.touch(touched);
            }
            Watched::Documents(kind) => self.tell_document(kind, told),
        }
    }

    fn tell_document(&mut self, kind: Kind, told: Told) {
        let told = match told {
            Told::IsServed(version, plural) => {
                self.served.insert(kind, (version, plural));
                return;
            }
            told => told,
        };
        let is_news = match told {
            Told::IsUnknown => self.unknown.insert(kind),
            Told::Begins | Told::Is(..) | Told::IsNot(_) | Told::IsServed(..) => false,
            Told::IsWhole => self.unknown.remove(&kind),
        };
        let touched = tell(self.documents.entry(kind).or_default(), told);
        let is_touched = touched != Touched::Nothing;
        self.is_edited |= is_news || is_touched;
        if is_touched && kind == Kind::Gateway {
            let routes = self.documents.iter_mut();
            let routes = routes.filter(|(kind, _)| is_route(**kind));
            let routes = routes.flat_map(|(_, listed)| listed.all.values_mut());
            routes.for_each(Document::ask_again);
        }
        if kind == Kind::Workload {
            // Who has written its Workload by himself is no pod.
            self.touch(touched);
        }
    }

    fn touch(&mut self, touched: Touched) {
        match touched {
            Touched::Nothing => {}
            Touched::One(namespace) => drop(self.moved.insert(namespace)),
            Touched::Everything => {
                let names = self.pods.all.keys().chain(self.slices.all.keys());
                let names = names.chain(self.services.all.keys());
                let mut last = None;
                for (namespace, _) in names {
                    if last != Some(namespace) {
                        self.moved.insert(namespace.clone());
                        last = Some(namespace);
                    }
                }
                self.moved.extend(self.spoken.iter().cloned());
            }
        }
    }
}

/// Takes in what is told of one kind.
fn tell<T: Kept>(listed: &mut Listed<ApiName, T>, told: Told) -> Touched {
    let is_growing = listed.coming.is_some();
    let (name, now) = match told {
        Told::IsUnknown | Told::IsServed(..) => return Touched::Nothing,
        Told::Begins => {
            listed.begins();
            return Touched::Nothing;
        }
        Told::IsWhole => {
            return match listed.is_whole() {
                true => Touched::Everything,
                false => Touched::Nothing,
            };
        }
        Told::IsNot(name) => (name, None),
        Told::Is(name, item) => (name, T::of(item)),
    };
    let Some(now) = now else {
        let before = listed.is_not(&name);
        return match before.is_some() && !is_growing {
            true => Touched::One(name.0),
            false => Touched::Nothing,
        };
    };
    let before = listed.is(name.clone(), now);
    let all = listed.coming.as_mut().unwrap_or(&mut listed.all);
    let is_same = match (before, all.get_mut(&name)) {
        (Some(before), Some(now)) if before.is_as(now) => {
            now.known_as(before);
            true
        }
        // More than is kept.
        (_, None) => true,
        (_, Some(_)) => false,
    };
    match is_growing || is_same {
        true => Touched::Nothing,
        false => Touched::One(name.0),
    }
}

fn is_route(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute
    )
}

/// An object that stands in no text.
fn located(object: Object) -> Arc<Located> {
    let metadata = object.metadata();
    let (namespace, name) = (metadata.namespace.as_str(), metadata.name.as_str());
    Arc::new(Located {
        file: api_file(object.kind(), namespace, name).into(),
        object,
        document_index: 0,
        line: 0,
        positions: Positions::default(),
    })
}

#[cfg(test)]
mod tests;
