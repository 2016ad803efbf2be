//! A service's routes, compiled: the first that takes a request, found without trying them all.
//!
//! Routes come sorted by precedence, so "first in order" is the whole rule. The table only narrows which
//! routes can match a path (by hash for exact paths and for each prefix of the request's elements, one by
//! one for regular expressions); the narrowed lists are merged in order.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    model::{Backend, PathMatch, Route, RouteMatch, TextMatch},
    value::Port,
};
use http::{HeaderMap, HeaderName, Method, header};
use smallvec::SmallVec;

use super::{path, query};
use crate::decide::random;

/// What matching looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The service's port it came for.
    pub port: Port,
    /// Lower case, without a port.
    pub host: &'a str,
    /// As written: what a match of the header `Host` looks at, which is no field any more.
    pub authority: &'a str,
    /// Normalised, without the query.
    pub path: &'a str,
    /// Without `?`; empty if there is none.
    pub query: &'a str,
    /// As sent.
    pub method: &'a Method,
    /// As sent.
    pub headers: &'a HeaderMap,
}

/// Compiled routes of one service.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Route>,
    exact: HashMap<Box<str>, Vec<u32>>,
    /// Without their trailing slash; the root is the empty text.
    prefixes: HashMap<Box<str>, Vec<u32>>,
    /// Elements of the longest prefix: a longer path is not looked up further.
    depth: usize,
    patterns: Vec<u32>,
}

/// Below this, trying each is faster than hashing.
const FEW: usize = 8;

impl Table {
    /// Compiles; keeps the routes' order.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut table = Self::default();
        for (route, position) in routes.iter().zip(0u32..) {
            match &route.matches.path {
                PathMatch::Exact(path) => {
                    table
                        .exact
                        .entry(path.as_str().into())
                        .or_default()
                        .push(position);
                }
                PathMatch::Prefix(prefix) => {
                    let stem = prefix.trim_end_matches('/');
                    let elements = stem.bytes().filter(|byte| *byte == b'/').count();
                    table.depth = table.depth.max(elements);
                    table
                        .prefixes
                        .entry(stem.into())
                        .or_default()
                        .push(position);
                }
                PathMatch::Regex(_) => table.patterns.push(position),
            }
        }
        Self { routes, ..table }
    }

    /// In order of precedence.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether there are routes for this port: then what none of them takes is refused (GEP-1426, "Route presence").
    pub fn governs(&self, port: Port) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.ports.is_empty() || route.ports.contains(&port))
    }

    /// The first route that takes the request, with its position.
    pub fn select(&self, request: &Request<'_>) -> Option<(usize, &Route)> {
        if self.routes.len() <= FEW {
            let path = path::without_parameters(request.path);
            return self.routes.iter().enumerate().find(|(_, route)| {
                path_matches(&route.matches.path, path) && others_match(route, request)
            });
        }
        self.select_compiled(request)
    }

    fn select_compiled(&self, request: &Request<'_>) -> Option<(usize, &Route)> {
        let path = path::without_parameters(request.path);
        let mut lists: SmallVec<[&[u32]; 16]> = SmallVec::new();
        lists.extend(self.exact.get(path).map(Vec::as_slice));
        lists.extend(self.prefixes_of(path));
        lists.push(&self.patterns);
        loop {
            // The least head of all lists: the next candidate in precedence. A route is in one list only.
            let list = lists
                .iter_mut()
                .filter(|list| !list.is_empty())
                .min_by_key(|list| list.first().copied())?;
            let (position, rest) = list.split_first()?;
            *list = rest;
            let position = usize::try_from(*position).ok()?;
            let route = self.routes.get(position)?;
            let path_holds = match &route.matches.path {
                PathMatch::Regex(pattern) => pattern.is_match(path),
                PathMatch::Exact(_) | PathMatch::Prefix(_) => true,
            };
            if path_holds && others_match(route, request) {
                return Some((position, route));
            }
        }
    }

    /// Lists of the prefixes that end at one of the path's slashes or at its end.
    fn prefixes_of<'t>(&'t self, path: &str) -> impl Iterator<Item = &'t [u32]> {
        let ends = path
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'/')
            .map(|(at, _)| at);
        let ends = ends.chain([path.len()]).take(self.depth + 1);
        ends.filter_map(move |end| self.prefixes.get(path.get(..end)?).map(Vec::as_slice))
            .collect::<SmallVec<[_; 8]>>()
            .into_iter()
    }
}

/// `path`: without parameters.
pub(super) fn path_matches(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(exact) => exact == path,
        PathMatch::Prefix(prefix) => path
            .strip_prefix(prefix.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        PathMatch::Regex(pattern) => pattern.is_match(path),
    }
}

fn others_match(route: &Route, request: &Request<'_>) -> bool {
    let RouteMatch {
        path: _,
        method,
        headers,
        query,
    } = &*route.matches;
    (route.ports.is_empty() || route.ports.contains(&request.port))
        && (route.hostnames.is_empty()
            || route
                .hostnames
                .iter()
                .any(|name| name.matches(request.host)))
        && method
            .as_ref()
            .is_none_or(|method| method == request.method)
        && headers_match(headers, request.headers, request.authority)
        && query.iter().all(|(name, wanted)| {
            query::first(request.query, name).is_some_and(|value| text_matches(wanted, &value))
        })
}

/// Whether all of these are there; `Host` is the authority.
pub fn headers_match(
    wanted: &[(HeaderName, TextMatch)],
    headers: &HeaderMap,
    authority: &str,
) -> bool {
    wanted.iter().all(|(name, wanted)| {
        if name == header::HOST {
            text_matches(wanted, authority)
        } else {
            header_matches(name, wanted, headers)
        }
    })
}

/// Several values of one name are one, joined by commas (RFC 9110 §5.3).
fn header_matches(name: &HeaderName, wanted: &TextMatch, headers: &HeaderMap) -> bool {
    let mut values = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().ok());
    let Some(first) = values.next() else {
        return false;
    };
    let joined = values.try_fold(first.map(Cow::Borrowed), |joined, value| {
        let mut text = joined?.into_owned();
        text.push(',');
        text.push_str(value?);
        Some(Some(Cow::Owned(text)))
    });
    // A value that is not text matches nothing.
    joined
        .flatten()
        .is_some_and(|value| text_matches(wanted, &value))
}

pub(super) fn text_matches(wanted: &TextMatch, text: &str) -> bool {
    match wanted {
        TextMatch::Exact(exact) => exact == text,
        TextMatch::Regex(pattern) => pattern.is_match(text),
    }
}

/// A backend by weight; `None`: there is none, or all weigh nothing (500 for every request).
pub fn pick_backend(backends: &[Backend], random: u64) -> Option<&Backend> {
    pick_backend_at(backends, random).map(|(_, backend)| backend)
}

/// The same, with its position.
pub fn pick_backend_at(backends: &[Backend], random: u64) -> Option<(usize, &Backend)> {
    if let [only] = backends {
        return (only.weight.get() > 0).then_some((0, only));
    }
    let total: u64 = backends
        .iter()
        .map(|backend| u64::from(backend.weight.get()))
        .sum();
    let mut point = random::below(random, total);
    backends.iter().enumerate().find(|(_, backend)| {
        let weight = u64::from(backend.weight.get());
        let hit = point < weight;
        point = point.saturating_sub(weight);
        hit
    })
}

#[cfg(test)]
mod tests;
