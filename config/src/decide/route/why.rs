//! Why a route does not take a request: for people who ask, never on a request's way.

use http::HeaderName;

use super::{
    Request, path, query,
    table::{headers_match, path_matches, text_matches},
};
use crate::model::Route;

/// The first of a route's conditions that does not hold, in the order of this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// It is for other ports.
    Port,
    /// It is for other hosts.
    Hostname,
    /// Its path is another.
    Path,
    /// Its method is another.
    Method,
    /// This header is not there, or has another value.
    Header(HeaderName),
    /// This parameter is not there, or has another value.
    Query(String),
}

/// Why not; `None`: it takes the request, if no other does before.
pub fn mismatch(route: &Route, request: &Request<'_>) -> Option<Mismatch> {
    let wanted = &route.matches;
    if !route.ports.is_empty() && !route.ports.contains(&request.port) {
        return Some(Mismatch::Port);
    }
    let mut names = route.hostnames.iter();
    if !route.hostnames.is_empty() && !names.any(|name| name.matches(request.host)) {
        return Some(Mismatch::Hostname);
    }
    if !path_matches(&wanted.path, path::without_parameters(request.path)) {
        return Some(Mismatch::Path);
    }
    if wanted
        .method
        .as_ref()
        .is_some_and(|method| method != request.method)
    {
        return Some(Mismatch::Method);
    }
    let header = wanted.headers.iter().find(|header| {
        let one = std::slice::from_ref(*header);
        !headers_match(one, request.headers, request.authority)
    });
    if let Some((name, _)) = header {
        return Some(Mismatch::Header(name.clone()));
    }
    let query = wanted.query.iter().find(|(name, wanted)| {
        !query::first(request.query, name).is_some_and(|value| text_matches(wanted, &value))
    });
    query.map(|(name, _)| Mismatch::Query(name.clone()))
}
