//! Which of a service's routes is tried first: Gateway API's order.
//!
//! More characters in a host name that is no wildcard, then in any; exact path, then (where the specification leaves a
//! choice) expressions, then the longest prefix, or, for a GRPCRoute, more characters in the service, then in the method;
//! then method, number of headers, number of query parameters; then the older object, its `namespace/name`, and the place
//! in it. Expressions go before prefixes, as in Envoy Gateway: behind them, a catch-all `/` would make every expression
//! unreachable.

use std::{cmp::Reverse, time::SystemTime};

use usher_config::{
    kind::ObjectKey,
    model::{PathMatch, Route},
    value::Hostname,
};

use super::matches::CallRank;

/// A compiled route and what it is sorted by.
pub(super) struct Ranked {
    pub(super) route: Route,
    /// Of a GRPCRoute; goes before its path.
    pub(super) call: Option<CallRank>,
    pub(super) accepted_at: SystemTime,
    pub(super) object: ObjectKey,
    /// Rule, then match.
    pub(super) place: (usize, usize),
}

/// Smaller is tried first.
pub(super) fn rank(ranked: &Ranked) -> impl Ord {
    let matches = &ranked.route.matches;
    let path = match &matches.path {
        PathMatch::Exact(path) => (0, Reverse(path.chars().count())),
        PathMatch::Regex(pattern) => (1, Reverse(pattern.as_str().chars().count())),
        PathMatch::Prefix(path) => (2, Reverse(path.trim_end_matches('/').chars().count())),
    };
    let object = &ranked.object;
    (
        hosts(&ranked.route.hostnames),
        ranked.call,
        path,
        matches.method.is_none(),
        Reverse(matches.headers.len()),
        Reverse(matches.query.len()),
        ranked.accepted_at,
        // As one text: `a-b/x` goes before `a/x`, which name by name it would not.
        format!("{}/{}", object.namespace, object.name),
        object.kind,
        ranked.place,
    )
}

/// Whole names before wildcards, longer before shorter, any host last.
fn hosts(hostnames: &[Hostname]) -> impl Ord {
    let names = hostnames.iter();
    names.map(specificity).min().unwrap_or((true, Reverse(0)))
}

fn specificity(host: &Hostname) -> (bool, Reverse<usize>) {
    (host.as_str().starts_with('*'), Reverse(host.as_str().len()))
}
