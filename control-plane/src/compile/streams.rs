//! TLSRoutes and TCPRoutes → where connections go: in one form for gateways, and by the service that they are for.
//!
//! GEP-1426 wants no meaning in the host names of routes whose parents are Services. For requests that holds here, too;
//! of a TLSRoute they are all that there is to match, and a TLSRoute without them would be a TCPRoute.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::SystemTime,
};

use usher_config::{
    kind::{BackendRef, ObjectKey, ParentRef, RouteKind, StreamRule},
    model::StreamRoute,
    value::{Hostname, Name, Port, ServiceName},
};

use super::{
    Finding, Reason,
    index::Index,
    parents::{Parents, followers},
    references::{Referrer, Whose, stream_backend},
    written::label,
};

/// A route of either kind.
pub(super) struct Stream<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) kind: RouteKind,
    pub(super) accepted_at: SystemTime,
    pub(super) parents: &'a [ParentRef],
    /// None: any.
    pub(super) hostnames: &'a [Hostname],
    pub(super) rules: &'a [StreamRule],
}

/// What one became at a service.
pub(super) struct Followed {
    pub(super) object: ObjectKey,
    pub(super) accepted_at: SystemTime,
    pub(super) route: StreamRoute,
}

/// All routes of both kinds, in Gateway API's order: the oldest first, then by `namespace/name`.
pub(super) fn streams<'a>(index: &Index<'a>) -> Vec<Stream<'a>> {
    let tls = index.tls_routes.iter().map(|aged| Stream {
        key: aged.key,
        kind: RouteKind::Tls,
        accepted_at: aged.accepted_at,
        parents: &aged.object.spec.parent_refs,
        hostnames: &aged.object.spec.hostnames,
        rules: &aged.object.spec.rules,
    });
    let tcp = index.tcp_routes.iter().map(|aged| Stream {
        key: aged.key,
        kind: RouteKind::Tcp,
        accepted_at: aged.accepted_at,
        parents: &aged.object.spec.parent_refs,
        hostnames: &[],
        rules: &aged.object.spec.rules,
    });
    let mut all: Vec<Stream<'a>> = tls.chain(tcp).collect();
    all.sort_by_cached_key(|Stream { key, .. }| {
        // As one text, as for requests: `a-b/x` goes before `a/x`.
        format!("{}/{}", key.namespace, key.name)
    });
    all.sort_by_key(|stream| stream.accepted_at);
    all
}

impl Stream<'_> {
    /// One route for each of these host names (`None`: any), for all ports and callers.
    pub(super) fn compile(
        &self,
        index: &Index<'_>,
        hostnames: &BTreeSet<Option<Hostname>>,
        whose: Whose<'_>,
        findings: &mut Vec<Finding>,
    ) -> Vec<StreamRoute> {
        let names: Vec<Option<&Name>> = self.rules.iter().map(|rule| rule.name.as_ref()).collect();
        let referrer = Referrer {
            index,
            object: self.key,
        };
        let mut routes = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let mut follow =
                |backend: &BackendRef| stream_backend(&referrer, backend, whose, findings);
            let route = StreamRoute {
                name: label(self.key, &names, number),
                callers: None,
                ports: Vec::new(),
                hostname: None,
                backends: rule.backend_refs.iter().map(&mut follow).collect(),
            };
            routes.extend(hostnames.iter().map(|hostname| StreamRoute {
                hostname: hostname.clone(),
                ..route.clone()
            }));
        }
        routes
    }
}

/// What is taken: of a service, for the callers in a namespace or all others, a port, for a host name or any.
type Place<'a> = (&'a ServiceName, Option<&'a Name>, Port, Option<Hostname>);

/// By the service whose connections they take. A port and a host name belong to the first route that has both; `parents`:
/// of each route, in their order.
pub(super) fn by_parent(
    index: &Index<'_>,
    (all, parents): (&[Stream<'_>], &[Parents]),
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, Vec<Followed>> {
    let mut taken: BTreeMap<Place<'_>, &ObjectKey> = BTreeMap::new();
    let mut followed: BTreeMap<ServiceName, Vec<Followed>> = BTreeMap::new();
    for (stream, parents) in all.iter().zip(parents) {
        for (parent, ports) in parents {
            let callers = followers(stream.key, parent);
            let hostnames = match stream.hostnames {
                [] => [None].into(),
                names => names.iter().cloned().map(Some).collect(),
            };
            for route in stream.compile(index, &hostnames, Whose::CallersOf(parent), findings) {
                let mut free = ports.clone();
                free.retain(|port| {
                    match taken.entry((parent, callers, *port, route.hostname.clone())) {
                        Entry::Vacant(place) => {
                            place.insert(stream.key);
                            true
                        }
                        Entry::Occupied(place) => {
                            findings.push(beaten(stream.key, place.get(), place.key()));
                            false
                        }
                    }
                });
                if free.is_empty() {
                    continue;
                }
                let route = StreamRoute {
                    callers: callers.cloned(),
                    ports: free.into_iter().collect(),
                    ..route
                };
                followed.entry(parent.clone()).or_default().push(Followed {
                    object: stream.key.clone(),
                    accepted_at: stream.accepted_at,
                    route,
                });
            }
        }
    }
    followed
}

fn beaten(
    object: &ObjectKey,
    earlier: &ObjectKey,
    (service, _, port, hostname): &Place<'_>,
) -> Finding {
    let host = hostname.as_ref();
    let host = host.map(|host| format!(" for {host}")).unwrap_or_default();
    Finding {
        object: object.clone(),
        reason: Reason::Conflicted,
        message: format!(
            "{earlier}, which is older or else first by name, has port {port} of Service {service}{host}: there this \
             one is not followed"
        ),
    }
}
