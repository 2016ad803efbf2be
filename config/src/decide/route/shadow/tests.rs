//! Of whom it is said, never gets a request; and it is said of whom it can be.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::{super::Request, super::Table, *};

fn route(name: &str, matches: RouteMatch) -> Route {
    Route {
        name: name.into(),
        callers: None,
        ports: Vec::new(),
        hostnames: Vec::new(),
        matches: matches.into(),
        filters: None,
        backends: Arc::default(),
        policy: Arc::default(),
    }
}

fn exact(text: &str) -> PathMatch {
    PathMatch::Exact(text.into())
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(text.into())
}

fn like(text: &str) -> PathMatch {
    PathMatch::Regex(text.parse().unwrap())
}

fn is(text: &str) -> TextMatch {
    TextMatch::Exact(text.into())
}

fn is_like(text: &str) -> TextMatch {
    TextMatch::Regex(text.parse().unwrap())
}

fn of(path: PathMatch, headers: &[(&str, TextMatch)]) -> RouteMatch {
    let headers = headers.iter();
    let headers = headers.map(|(name, wanted)| (name.parse().unwrap(), wanted.clone()));
    RouteMatch {
        path,
        headers: headers.collect(),
        ..RouteMatch::default()
    }
}

#[test]
fn paths_are_covered_where_that_is_proven() {
    for (wide, narrow, covered) in [
        (exact("/a"), exact("/a"), true),
        (exact("/a"), exact("/a/"), false),
        (exact("/a"), prefix("/a"), false),
        (prefix("/a"), exact("/a/b"), true),
        (prefix("/a"), exact("/ab"), false),
        (prefix("/a/"), prefix("/a"), true),
        (prefix("/a"), prefix("/a/b"), true),
        (prefix("/a"), prefix("/ab"), false),
        (prefix("/"), prefix("/ab"), true),
        // `*`, of OPTIONS, is below no prefix.
        (prefix("/"), like(".*"), false),
        (like("/a|/b"), exact("/b"), true),
        (like("/a|/b"), exact("/c"), false),
        (like("/v1/.*"), prefix("/v1/x"), true),
        (like("/v1/.*"), prefix("/v1"), false),
        (like("/.*"), prefix("/"), true),
        (like("/[ab].*"), prefix("/a"), false),
        (like("/a.*"), like("/a.*"), true),
        (like("/.*"), like("/a.*"), false),
    ] {
        let covers = covers(&of(wide.clone(), &[]), &of(narrow.clone(), &[]));
        assert_eq!(covers, covered, "{wide:?} {narrow:?}");
    }
}

#[test]
fn headers_are_covered_where_each_condition_is_implied() {
    let root = || prefix("/");
    for (wide, narrow, covered) in [
        (vec![], vec![("a", is("1"))], true),
        (vec![("a", is("1"))], vec![], false),
        (vec![("a", is("1"))], vec![("a", is("2"))], false),
        (vec![("a", is("1"))], vec![("b", is("1"))], false),
        (
            vec![("a", is("1")), ("b", is("2"))],
            vec![("b", is("2")), ("a", is("1"))],
            true,
        ),
        (vec![("a", is_like("1|2"))], vec![("a", is("2"))], true),
        (vec![("a", is_like("1|2"))], vec![("a", is("3"))], false),
        (
            vec![("a", is_like("1|2"))],
            vec![("a", is_like("1"))],
            false,
        ),
        (vec![("a", is("1"))], vec![("a", is_like("1"))], false),
    ] {
        let covers = covers(&of(root(), &wide), &of(root(), &narrow));
        assert_eq!(covers, covered, "{wide:?} {narrow:?}");
    }
    let get = RouteMatch {
        method: Some(Method::GET),
        ..RouteMatch::default()
    };
    assert!(covers(&RouteMatch::default(), &get) && !covers(&get, &RouteMatch::default()));
}

#[test]
fn each_route_that_gets_nothing_is_named_with_the_one_that_gets_its_requests() {
    let routes = [
        route("expression", of(like("/v1/.*"), &[])),
        route("first", of(prefix("/x"), &[("a", is("1")), ("b", is("2"))])),
        route("same", of(prefix("/x/"), &[("b", is("2")), ("a", is("1"))])),
        route("below", of(prefix("/v1/orders"), &[])),
        route("again", of(prefix("/v1/orders"), &[])),
        route("else", of(prefix("/v1"), &[])),
        route("rest", RouteMatch::default()),
    ];
    let all: Vec<&Route> = routes.iter().collect();
    let found = shadowed(&all).into_iter();
    let found: Vec<(&str, &str)> = found.map(|(one, by)| (&*one.name, &*by.name)).collect();
    let expected = [
        ("same", "first"),
        ("below", "expression"),
        ("again", "expression"),
    ];
    assert_eq!(found, expected);
}

/// 5,000 rules on one host, each with an expression, are not compared each with each.
#[test]
fn a_long_list_is_compared_with_so_many_only() {
    let wide = |number: usize| {
        let value = is_like(&format!("{number}|x"));
        route("wide", of(prefix("/"), &[("a", value)]))
    };
    let narrow = |number: usize| {
        let value = is(&number.to_string());
        route("narrow", of(prefix("/"), &[("a", value)]))
    };
    let wide: Vec<Route> = (0..WIDE_MAX + 10).map(wide).collect();
    let narrow: Vec<Route> = (0..WIDE_MAX + 10).map(narrow).collect();
    let all: Vec<&Route> = wide.iter().chain(&narrow).collect();
    assert_eq!(shadowed(&all).len(), WIDE_MAX);
}

fn any_path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        "(/[ab]{0,1}){1,2}".prop_map(|text| exact(&text)),
        "(/[ab]{0,1}){1,2}/?".prop_map(|text| prefix(&text)),
        prop::sample::select(vec!["/a.*", "/.*b", "/[ab]/.*", ".*", "/.*"]).prop_map(like),
    ]
}

fn any_text() -> impl Strategy<Value = TextMatch> {
    prop_oneof![
        "[12]".prop_map(|text| is(&text)),
        prop::sample::select(vec!["1|2", "1.*"]).prop_map(is_like),
    ]
}

fn any_match() -> impl Strategy<Value = RouteMatch> {
    let method = prop::option::weighted(0.3, prop::sample::select(vec![Method::GET, Method::POST]));
    let headers = prop::collection::btree_map("(x|y|host)", any_text(), 0..3);
    let query = prop::collection::btree_map("[q]", any_text(), 0..2);
    (any_path(), method, headers, query).prop_map(|(path, method, headers, query)| {
        let headers = headers.into_iter();
        let named =
            |(name, wanted): (String, TextMatch)| (name.parse::<HeaderName>().unwrap(), wanted);
        RouteMatch {
            path,
            method,
            headers: headers.map(named).collect(),
            query: query.into_iter().collect(),
        }
    })
}

type Asked = (String, Method, Vec<(String, String)>, String, String);

fn any_request() -> impl Strategy<Value = Asked> {
    (
        prop_oneof!["(/[ab]{0,2}){1,3}(;a)?", Just("*".to_owned())],
        prop::sample::select(vec![Method::GET, Method::POST, Method::PUT]),
        prop::collection::vec(("[xy]", "[123]{1,2}"), 0..4),
        "(q=[123%]0?(&q=1)?)?",
        "[12]",
    )
}

proptest! {
    #[test]
    fn what_is_shadowed_is_never_asked_first(
        matches in prop::collection::vec(any_match(), 2..24),
        requests in prop::collection::vec(any_request(), 1..40),
    ) {
        let routes = matches.into_iter().enumerate();
        let routes: Vec<Route> = routes.map(|(at, one)| route(&at.to_string(), one)).collect();
        let all: Vec<&Route> = routes.iter().collect();
        let found = shadowed(&all);
        let table = Table::new(routes.clone());
        for (path, method, headers, query, authority) in &requests {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name: HeaderName = name.parse().unwrap();
                map.append(name, HeaderValue::from_str(value).unwrap());
            }
            let request = Request {
                port: "80".parse().unwrap(),
                host: authority,
                authority,
                path,
                query,
                method,
                headers: &map,
            };
            let Some((_, answers)) = table.select(&request) else { continue };
            let lost = found.iter().find(|(route, _)| route.name == answers.name);
            prop_assert!(lost.is_none(), "{:?} by {:?}: {:?}", answers.matches, lost, path);
        }
    }
}
