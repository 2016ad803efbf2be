//! What a cluster says, as far as it has changed: places of services, and the configuration. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use serde_json::Value;
use usher_config::{
    kind::{Kind, Object, ObjectKey},
    parse::{API_FOLDER, Located, Parsed},
    value::{Name, ServiceName},
};

use crate::registry::places::Moved;

use super::{
    ApiName, Cluster, Watched, document, is_route, located,
    others::{GatewayName, keep_ours},
    placing::{Placed, There},
    workloads::workloads,
};
use crate::source::kubernetes::{
    listed::{Listed, OBJECTS_MAX},
    status::{self, Verdict, Write},
};

/// Where everybody is.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// For the registry.
    pub(crate) moved: Moved,
    /// Services, and as what else a sidecar of one of their pods answers.
    pub(crate) strangers: BTreeMap<ServiceName, Name>,
}

/// By namespace, the Workloads that somebody has written, with their accounts. One with mistakes may have two: that of its last
/// version without, which runs, and the one that it names.
type Written = BTreeMap<Name, BTreeMap<Name, BTreeSet<Name>>>;

/// The configuration.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// All of it, to be put together.
    pub(crate) parts: Vec<Arc<Parsed>>,
    /// Kinds that the API server does not have, and of which it has never told anything: nobody knows whether there are objects of
    /// them.
    pub(crate) untold: BTreeSet<Kind>,
}

impl Cluster {
    /// What is still to be told before anything is said; `None`: nothing.
    pub(crate) fn waits_for(&self) -> Option<Watched> {
        Watched::all().find(|watched| !self.is_told(*watched))
    }

    /// Of what there is more than can be.
    pub(crate) fn is_beyond(&self) -> Option<Watched> {
        Watched::all().find(|watched| match watched {
            Watched::Pods => self.pods.is_beyond,
            Watched::Slices => self.slices.is_beyond,
            Watched::Services => self.services.is_beyond,
            Watched::Documents(kind) => {
                let listed = self.documents.get(kind);
                listed.is_some_and(|listed| listed.is_beyond)
            }
        })
    }

    pub(super) fn is_told(&self, watched: Watched) -> bool {
        match watched {
            Watched::Pods => self.pods.is_whole,
            Watched::Slices => self.slices.is_whole,
            Watched::Services => self.services.is_whole,
            Watched::Documents(kind) => self.unknown.contains(&kind) || self.has_told(kind),
        }
    }

    fn has_told(&self, kind: Kind) -> bool {
        let listed = self.documents.get(&kind);
        listed.is_some_and(|listed| listed.is_whole)
    }

    /// Whether all is told that places are made of. Configuration that cannot be read holds up nobody who comes and goes.
    fn knows_places(&self) -> bool {
        let workloads = Watched::Documents(Kind::Workload);
        let all = [Watched::Pods, Watched::Slices, Watched::Services, workloads];
        all.into_iter().all(|watched| self.is_told(watched))
    }

    /// Where everybody is, in namespaces where that has changed; `None`: nowhere.
    pub(crate) fn places(&mut self) -> Option<Places> {
        if !self.knows_places() || self.moved.is_empty() {
            return None;
        }
        let written = self.written();
        let mut said = Places::default();
        for namespace in std::mem::take(&mut self.moved) {
            // The API server has no other names.
            if let Ok(name) = namespace.parse::<Name>() {
                self.place((&namespace, &name), &written, &mut said);
            }
        }
        if self.accounts.len() > OBJECTS_MAX {
            self.accounts.clear();
        }
        let pods = self.pods.all.iter().filter(|(_, pod)| pod.is_meshed);
        let pods = pods.filter_map(|((namespace, _), pod)| {
            Some((namespace.parse().ok()?, pod.account.clone()))
        });
        self.accounts.extend(pods);
        let is_declared = |(namespace, account): &&(Name, Name)| {
            let mut all = written.get(namespace).into_iter().flatten();
            all.any(|(_, accounts)| accounts.contains(account))
        };
        // An API server that starts says for a while that it has no such kind: what is stored may be machines' then.
        let is_known = self.has_told(Kind::Workload);
        let of_pods = self.accounts.iter();
        let of_pods = of_pods.filter(|one| is_known && !is_declared(one));
        said.moved.accounts = of_pods.cloned().collect();
        said.moved.is_all = is_known && written.is_empty();
        Some(said)
    }

    fn place(&mut self, (text, namespace): (&str, &Name), written: &Written, said: &mut Places) {
        let services = in_namespace(&self.services, text);
        let services = services.filter_map(|(_, located)| match &located.object {
            Object::Service(service) => Some((&service.metadata.name, service)),
            _ => None,
        });
        let pods = in_namespace(&self.pods, text);
        let slices = in_namespace(&self.slices, text);
        let there = There {
            services: services.collect(),
            slices: slices.map(|(_, slice)| slice).collect(),
            pods: pods.map(|((_, name), pod)| (name.as_str(), pod)).collect(),
        };
        let names = written.get(namespace).into_iter().flatten();
        let names: BTreeSet<Name> = names.map(|(name, _)| name.clone()).collect();
        let pods = there.pods.values().copied().filter(|pod| pod.is_meshed);
        let services = there.services.values().copied();
        let found = workloads(namespace, pods, services, &names);
        let ending = there.pods.iter().filter(|(_, pod)| pod.ends);
        let ending = ending.filter_map(|(name, pod)| Some((name.parse().ok()?, pod.address?)));
        let ending: BTreeMap<Name, IpAddr> = ending.collect();
        let Placed { places, strangers } = there.placed(namespace);
        let found: Vec<Arc<Located>> = found
            .into_iter()
            .map(|workload| located(Object::Workload(workload)))
            .collect();
        let known = self.workloads.get(text).into_iter().flatten();
        let is_same = known
            .map(|one| &one.object)
            .eq(found.iter().map(|one| &one.object));
        self.is_edited |= !is_same;
        match found.is_empty() && places.is_empty() {
            true => drop(self.spoken.remove(text)),
            false => drop(self.spoken.insert(text.to_owned())),
        }
        match found.is_empty() {
            true => drop(self.workloads.remove(text)),
            false => drop(self.workloads.insert(text.to_owned(), found)),
        }
        if !ending.is_empty() {
            said.moved.ending.insert(namespace.clone(), ending);
        }
        said.moved.namespaces.insert(namespace.clone());
        said.moved.places.extend(places);
        said.strangers.extend(strangers);
    }

    /// The Workloads that somebody has written, with their accounts.
    fn written(&mut self) -> Written {
        let (mut written, mut good) = (Written::new(), BTreeMap::new());
        let documents = self.documents.get_mut(&Kind::Workload);
        let documents = documents.map(|listed| &mut listed.all).into_iter();
        for ((namespace, name), document) in documents.flatten() {
            let said = document.said((Kind::Workload, namespace, name), &BTreeSet::new());
            let objects = said.map(|said| said.objects.as_slice()).unwrap_or_default();
            let parsed = objects.iter().find_map(|located| match &located.object {
                Object::Workload(workload) => Some(workload.spec.service_account.clone()),
                _ => None,
            });
            let Some(key) = document::key((Kind::Workload, namespace, name)) else {
                continue;
            };
            let of = (key.namespace.clone(), key.name.clone());
            let accounts = match parsed {
                Some(account) => {
                    good.insert(of, account.clone());
                    [account].into()
                }
                // Its last good version runs, and the next one may be what it says now.
                None => {
                    let last = self.good.get(&of).cloned();
                    good.extend(last.clone().map(|account| (of, account)));
                    last.into_iter().chain(document.account()).collect()
                }
            };
            let there = written.entry(key.namespace).or_default();
            there.insert(key.name, accounts);
        }
        self.good = good;
        written
    }

    /// What of statuses is not as it should be. `verdicts`: what is to be said of objects, by key; `now`: RFC 3339.
    pub(crate) fn writes(&self, verdicts: &BTreeMap<ObjectKey, Verdict>, now: &str) -> Vec<Write> {
        let others = self.other_gateways();
        let kinds = self.documents.iter();
        let kinds =
            kinds.filter_map(|(kind, listed)| Some((*kind, listed, self.served.get(kind)?)));
        let documents = kinds.flat_map(|(kind, listed, resource)| {
            let all = listed.all.iter();
            all.map(move |(name, document)| (kind, name, document, resource))
        });
        let writes = documents.filter_map(|(kind, (namespace, name), document, resource)| {
            let key = document::key((kind, namespace, name))?;
            let mut current = document.current(namespace, resource)?;
            let parents = current.spec.get_mut("parentRefs");
            let parents = parents.and_then(Value::as_array_mut);
            let parents = parents.filter(|_| is_route(kind));
            let is_others = parents.is_some_and(|parents| {
                keep_ours(namespace, parents, &others);
                parents.is_empty()
            });
            let nothing = Verdict::default();
            let verdict = match verdicts.get(&key) {
                Some(verdict) => verdict,
                // It was ours once: what was said of it then is taken back.
                None if is_others => &nothing,
                None => return None,
            };
            status::write(&key, &current, verdict, now)
        });
        writes.collect()
    }

    /// Gateways of other controllers.
    fn other_gateways(&self) -> BTreeSet<GatewayName> {
        let gateways = self.documents.get(&Kind::Gateway);
        let gateways = gateways.map(|listed| listed.all.iter()).into_iter();
        let others = gateways.flatten();
        let others = others.filter(|(_, gateway)| gateway.is_other_gateway());
        others.map(|(name, _)| name.clone()).collect()
    }

    /// To be said anew, although it is as it was.
    pub(crate) fn say_again(&mut self) {
        self.is_edited = true;
    }

    /// The configuration; `None`: it is as it was, or not known whole. To be asked for after [`Self::places`], which finds
    /// Workloads.
    pub(crate) fn said(&mut self) -> Option<Said> {
        if self.waits_for().is_some() || !std::mem::take(&mut self.is_edited) {
            return None;
        }
        let others = self.other_gateways();
        let services = self.services.all.values();
        let workloads = self.workloads.values().flatten();
        let mut cluster = Parsed::of(services.chain(workloads).cloned().collect());
        // Nothing else stands in a text; without any, it would look like a directory that is not mounted.
        let source = "what the API server of the cluster has";
        cluster.sources.insert(API_FOLDER.into(), source.into());
        let mut parts = vec![Arc::new(cluster)];
        for (kind, listed) in &mut self.documents {
            let all = listed.all.iter_mut();
            parts.extend(all.filter_map(|((namespace, name), document)| {
                document.said((*kind, namespace, name), &others).cloned()
            }));
        }
        let unknown = self.unknown.iter().copied();
        let untold = unknown.filter(|kind| !self.has_told(*kind)).collect();
        Some(Said { parts, untold })
    }
}

fn in_namespace<'l, T>(
    listed: &'l Listed<ApiName, T>,
    namespace: &'l str,
) -> impl Iterator<Item = (&'l ApiName, &'l T)> {
    let first = (namespace.to_owned(), String::new());
    let from = listed.all.range(first..);
    from.take_while(move |((of, _), _)| of == namespace)
}
