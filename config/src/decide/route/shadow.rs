//! Routes that no request reaches, because one that is asked before them takes all of theirs: for people, never on a
//! request's way.
//!
//! Said only where it is proven, by the conditions alone: expressions are compared by their text, or tried on the one text
//! that they would have to match. Several routes that take everything together are not looked for, so a route of which
//! nothing is said may still be without requests.

use std::collections::HashMap;

use http::Method;

use super::table::path_matches;
use crate::{
    model::{PathMatch, Route, RouteMatch, TextMatch},
    value::Pattern,
};

/// How many routes with expressions are compared with each route after them: the first ones. Routes with equal conditions
/// are found whatever their number.
const WIDE_MAX: usize = 64;

/// Those of a list of routes that get no request, each with the route that gets all of theirs. `routes`: all that are
/// asked about the same requests (one port and the same callers, or one listener and host name), in order of precedence.
///
/// Cost: for each route one look-up, and at most 64 comparisons with routes that have expressions: of more than 64 of those
/// in one list, the later ones are not compared.
pub fn shadowed<'r>(routes: &[&'r Route]) -> Vec<(&'r Route, &'r Route)> {
    let mut found = Vec::new();
    if routes.len() < 2 {
        return found;
    }
    // By Gateway API's precedence what is less specific comes later; so of two in order the first can only take all of the
    // second's requests if they are equal, or if an expression is wider than it ranks.
    let mut equals: HashMap<Conditions<'_>, &'r Route> = HashMap::with_capacity(routes.len());
    let mut wide: Vec<&'r Route> = Vec::new();
    for route in routes.iter().copied() {
        // Of an equal one it is known that nothing before it takes its requests.
        let conditions = conditions(&route.matches);
        let mut wider = wide.iter().copied();
        let by = equals.get(&conditions).copied();
        let by = by.or_else(|| wider.find(|wider| covers(&wider.matches, &route.matches)));
        if let Some(by) = by {
            found.push((route, by));
            continue;
        }
        equals.insert(conditions, route);
        if wide.len() < WIDE_MAX && is_wide(&route.matches) {
            wide.push(route);
        }
    }
    found
}

/// Whether `wide` provably takes every request that `narrow` takes.
pub fn covers(wide: &RouteMatch, narrow: &RouteMatch) -> bool {
    let RouteMatch {
        path,
        method,
        headers,
        query,
    } = wide;
    path_covers(path, &narrow.path)
        && (method.is_none() || *method == narrow.method)
        && headers.iter().all(|one| is_implied(one, &narrow.headers))
        && query.iter().all(|one| is_implied(one, &narrow.query))
}

fn path_covers(wide: &PathMatch, narrow: &PathMatch) -> bool {
    match (wide, narrow) {
        (PathMatch::Exact(wide), PathMatch::Exact(narrow)) => wide == narrow,
        (PathMatch::Prefix(_) | PathMatch::Regex(_), PathMatch::Exact(path)) => {
            path_matches(wide, path)
        }
        (PathMatch::Prefix(_), PathMatch::Prefix(path)) => path_matches(wide, stem(path)),
        (PathMatch::Regex(pattern), PathMatch::Prefix(path)) => {
            // Of the root's prefix, too, every path begins with a slash.
            let path = Some(stem(path)).filter(|stem| !stem.is_empty());
            beginning(pattern).is_some_and(|start| path.unwrap_or("/").starts_with(start))
        }
        (PathMatch::Regex(wide), PathMatch::Regex(narrow)) => wide == narrow,
        (PathMatch::Exact(_), PathMatch::Prefix(_) | PathMatch::Regex(_))
        | (PathMatch::Prefix(_), PathMatch::Regex(_)) => false,
    }
}

fn stem(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Of an expression that is nothing but a beginning (`/v1/.*`), that. No normal path has a line's end, which `.` would not
/// match.
fn beginning(pattern: &Pattern) -> Option<&str> {
    let start = pattern.as_str().strip_suffix(".*")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    start.bytes().all(plain).then_some(start)
}

/// Whether a request for which all of `given` hold meets `wanted` as well.
fn is_implied<N: PartialEq>((name, wanted): &(N, TextMatch), given: &[(N, TextMatch)]) -> bool {
    let mut about = given.iter().filter(|(other, _)| other == name);
    about.any(|(_, given)| match (wanted, given) {
        (TextMatch::Exact(wanted), TextMatch::Exact(given)) => wanted == given,
        (TextMatch::Regex(wanted), TextMatch::Exact(given)) => wanted.is_match(given),
        (TextMatch::Regex(wanted), TextMatch::Regex(given)) => wanted == given,
        (TextMatch::Exact(_), TextMatch::Regex(_)) => false,
    })
}

/// Whether it may cover what does not equal it, and yet be asked first.
fn is_wide(matches: &RouteMatch) -> bool {
    let any_of = |wanted: &TextMatch| matches!(wanted, TextMatch::Regex(_));
    let begins = match &matches.path {
        PathMatch::Regex(pattern) => beginning(pattern).is_some(),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => false,
    };
    begins
        || matches.headers.iter().any(|(_, wanted)| any_of(wanted))
        || matches.query.iter().any(|(_, wanted)| any_of(wanted))
}

/// Equal if two matches take the same requests for being written alike, in whatever order.
type Conditions<'m> = (
    (u8, &'m str),
    Option<&'m Method>,
    Vec<(&'m str, u8, &'m str)>,
    Vec<(&'m str, u8, &'m str)>,
);

fn conditions(matches: &RouteMatch) -> Conditions<'_> {
    let path = match &matches.path {
        PathMatch::Exact(path) => (0, path.as_str()),
        PathMatch::Regex(pattern) => (1, pattern.as_str()),
        PathMatch::Prefix(path) => (2, stem(path)),
    };
    let headers = matches.headers.iter();
    let headers = headers.map(|(name, wanted)| condition(name.as_str(), wanted));
    let query = matches.query.iter();
    let query = query.map(|(name, wanted)| condition(name, wanted));
    let (mut headers, mut query): (Vec<_>, Vec<_>) = (headers.collect(), query.collect());
    headers.sort_unstable();
    query.sort_unstable();
    (path, matches.method.as_ref(), headers, query)
}

fn condition<'m>(name: &'m str, wanted: &'m TextMatch) -> (&'m str, u8, &'m str) {
    match wanted {
        TextMatch::Exact(text) => (name, 0, text),
        TextMatch::Regex(pattern) => (name, 1, pattern.as_str()),
    }
}

#[cfg(test)]
mod tests;
