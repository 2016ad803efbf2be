//! The most precise name's routes come first, and what none of them takes goes on to the next name's.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::*;
use crate::model::{PathMatch, RouteMatch};

fn route(name: &str, hostname: Option<&str>, prefix: &str) -> Route {
    Route {
        name: name.into(),
        callers: None,
        ports: Vec::new(),
        hostnames: hostname.iter().map(|name| name.parse().unwrap()).collect(),
        matches: Arc::new(RouteMatch {
            path: PathMatch::Prefix(prefix.into()),
            ..RouteMatch::default()
        }),
        filters: None,
        backends: Arc::default(),
        policy: Arc::default(),
    }
}

#[test]
fn the_most_precise_name_that_takes_a_request_decides() {
    let routes = [
        route("any", None, "/"),
        route("wide", Some("*.example"), "/"),
        route("own-a", Some("a.example"), "/a"),
        route("own-b", Some("a.example"), "/b"),
    ];
    let by_host = ByHost::new(routes.iter());
    for (host, path, expected) in [
        ("a.example", "/a", 2),
        ("a.example", "/b/c", 3),
        ("a.example", "/else", 1),
        ("b.example", "/a", 1),
        ("example", "/a", 0),
    ] {
        let request = Request {
            port: "80".parse().unwrap(),
            host,
            authority: host,
            path,
            query: "",
            method: &Method::GET,
            headers: &HeaderMap::new(),
        };
        let (position, route) = by_host.select(&request).unwrap();
        assert_eq!(position, expected, "{host}{path}");
        assert_eq!(route.name, routes[position].name);
    }
}
