//! Routes for connections that want the same of a Service: only one of them gets it.
//!
//! Warnings, which name the winner: the older one (a control plane knows which was accepted first, and `usher status` says
//! so then), of one age the first by name. Texts that are checked together are of one age.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    kind::{Object, ParentKind, ParentRef, Service},
    parse::{Located, Mistake, Severity},
    value::{Hostname, Name, Port, ServiceName},
};

use super::{index::Index, mistake, related};

/// A port of a service, for the callers in one namespace or all others.
type Place = (ServiceName, Option<Name>, Port);

/// What a route wants of a place.
#[derive(Clone, Copy)]
struct Claim<'a> {
    located: &'a Located,
    /// Of its parents.
    parent: usize,
    /// `None`: any.
    hostname: Option<&'a Hostname>,
}

/// Why one of two of a kind has it.
const FIRST: &str = " (the first by name; if this one is older, it is the other way round)";

pub(super) fn rivals<'a>(
    objects: &'a [Arc<Located>],
    index: &Index<'a>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut places: BTreeMap<Place, Vec<Claim<'a>>> = BTreeMap::new();
    for located in objects {
        for (place, claim) in claims(located, index) {
            places.entry(place).or_default().push(claim);
        }
    }
    for (place, claims) in &mut places {
        // As one text, as whoever compiles them.
        claims.sort_by_cached_key(|Claim { located, .. }| {
            let metadata = located.object.metadata();
            format!("{}/{}", metadata.namespace, metadata.name)
        });
        let precedence = |claim: &&Claim<'_>| claim.located.object.kind().route_precedence();
        let Some(first) = claims.iter().min_by_key(precedence) else {
            continue;
        };
        // Thousands of routes may want one port: each looks once for who was there before.
        let mut taken: HashMap<Option<&Hostname>, &Claim<'_>> = HashMap::new();
        for claim in claims.iter() {
            if !claim.located.object.kind().is_of_connections() {
                continue;
            }
            if precedence(&claim) != precedence(&first) {
                let allowed = "a port has one kind of route: give the parentRefs of one of them another `port`";
                mistakes.push(warning(claim, first, place, ("", allowed)));
                continue;
            }
            let earlier = *taken.entry(claim.hostname).or_insert(claim);
            if !std::ptr::eq(earlier.located, claim.located) {
                let allowed = match claim.hostname {
                    Some(_) => "each name once for a port",
                    None => "one TCPRoute for a port",
                };
                mistakes.push(warning(claim, earlier, place, (FIRST, allowed)));
            }
        }
    }
}

fn claims<'a>(located: &'a Located, index: &Index<'a>) -> Vec<(Place, Claim<'a>)> {
    let (parents, hostnames): (&[ParentRef], &[Hostname]) = match &located.object {
        Object::HttpRoute(route) => (&route.spec.parent_refs, &[]),
        Object::GrpcRoute(route) => (&route.spec.parent_refs, &[]),
        Object::TlsRoute(route) => (&route.spec.parent_refs, &route.spec.hostnames),
        Object::TcpRoute(route) => (&route.spec.parent_refs, &[]),
        _ => return Vec::new(),
    };
    let (own, kind) = (&located.object.metadata().namespace, located.object.kind());
    let hostnames: Vec<Option<&Hostname>> = match hostnames {
        [] => vec![None],
        names => names.iter().map(Some).collect(),
    };
    let mut claims = Vec::new();
    for (reference, parent) in parents.iter().zip(0..) {
        let name = reference.parent(own);
        let service: Option<&Service> = index.services.get(&name).copied().flatten();
        let service = service.filter(|_| reference.kind == ParentKind::Service);
        let ports = service.into_iter().flat_map(|service| &service.spec.ports);
        for port in ports.filter(|port| reference.means(port) && port.carries(kind)) {
            let callers = (name.namespace != *own).then(|| own.clone());
            let place = (name.clone(), callers, port.port);
            claims.extend(hostnames.iter().map(|hostname| {
                let claim = Claim {
                    located,
                    parent,
                    hostname: *hostname,
                };
                (place.clone(), claim)
            }));
        }
    }
    claims
}

fn warning(
    claim: &Claim<'_>,
    other: &Claim<'_>,
    (service, _, port): &Place,
    (why, allowed): (&str, &str),
) -> Mistake {
    let host = claim.hostname.filter(|_| claim.hostname == other.hostname);
    let host = host
        .map(|host| format!(" for `{host}`"))
        .unwrap_or_default();
    let field = format!("spec.parentRefs[{}]", claim.parent);
    let key = other.located.object.key();
    let found = format!(
        "port {port} of Service `{service}`{host}, which {key} has{why}: this one is not followed there"
    );
    let words = (found, allowed.to_owned());
    let mut mistake = mistake(claim.located, Severity::Warning, &field, words);
    let there = format!("spec.parentRefs[{}]", other.parent);
    mistake.related = Some(related(other.located, &there, "the route that has it"));
    mistake.depends_on_age = true;
    mistake
}
