//! What filters do, against the specification's tables and naive versions.

use crate::model::{Cors, HeaderEdits, Listed, PathEdit, Redirect};
use http::{HeaderName, Request, StatusCode};
use proptest::prelude::*;

use super::*;

fn head(uri: &str) -> request::Parts {
    Request::get(uri).body(()).unwrap().into_parts().0
}

fn prefix(matched: &str, replacement: &str) -> PathEdit {
    PathEdit::Prefix {
        matched: matched.into(),
        replacement: replacement.into(),
    }
}

fn rewritten(edit: PathEdit, uri: &str) -> String {
    let filters = Filters {
        rewrite: Some(Rewrite {
            hostname: None,
            path: Some(edit),
        }),
        ..Filters::default()
    };
    let chain = Chain::of_rule(Some(&Arc::new(filters)), &HeaderMap::new());
    let mut head = head(uri);
    chain.edit_request(&mut head).unwrap();
    head.uri.to_string()
}

#[test]
fn prefixes_are_replaced_as_in_the_specifications_table() {
    let table = [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/a", "/", "/b", "/b/a"),
        // Parameters are no part of what a prefix is compared with.
        ("/foo;v=1", "/foo", "/xyz", "/xyz;v=1"),
        ("/foo/bar;v=1", "/foo", "/xyz", "/xyz/bar;v=1"),
        ("/foo;v=1", "/foo", "/", "/"),
    ];
    for (path, matched, replacement, expected) in table {
        let uri = format!("http://a{path}?q=/foo");
        let expected = format!("http://a{expected}?q=/foo");
        assert_eq!(rewritten(prefix(matched, replacement), &uri), expected);
    }
    let full = PathEdit::Full("/new".into());
    assert_eq!(rewritten(full, "http://a/old/x?y=z"), "http://a/new?y=z");
}

#[test]
fn a_second_rewrite_replaces_whole_elements_only() {
    let rewrite = |edit| {
        Arc::new(Filters {
            rewrite: Some(Rewrite {
                hostname: None,
                path: Some(edit),
            }),
            ..Filters::default()
        })
    };
    for (backend, expected) in [("/bar", "/foobar/x"), ("", "/foobar/x")] {
        let mut chain =
            Chain::of_rule(Some(&rewrite(prefix("/foo", "/foobar"))), &HeaderMap::new());
        chain.for_backend(Some(&rewrite(prefix("/foo", backend))), &HeaderMap::new());
        let mut head = head("http://a/foo/x");
        chain.edit_request(&mut head).unwrap();
        assert_eq!(head.uri.path(), expected);
    }
}

/// Element by element, as a reader of the specification would do it by hand.
fn naive(path: &str, matched: &str, replacement: &str) -> String {
    let elements = |text: &str| -> Vec<String> {
        let inner = text.trim_end_matches('/').split('/').skip(1);
        inner.map(str::to_owned).collect()
    };
    let mut whole = elements(replacement);
    let rest: Vec<&str> = path.split('/').skip(1 + elements(matched).len()).collect();
    whole.extend(rest.into_iter().map(str::to_owned));
    format!("/{}", whole.join("/"))
}

proptest! {
    #[test]
    fn a_replaced_prefix_agrees_with_a_naive_version_and_is_normal(
        matched in "(/[a-z]{1,3}){0,3}/?", rest in "(/[a-z;]{1,3}){0,3}/?", replacement in "((/[a-z]{1,3}){0,3}/?)?",
    ) {
        prop_assume!(!rest.contains(";/") && !rest.contains("/;"));
        let matched = if matched.is_empty() { "/".to_owned() } else { matched };
        let stem = matched.trim_end_matches('/');
        let path = format!("{stem}{rest}");
        prop_assume!(path.starts_with('/') && super::super::path::normalize(&path, super::super::path::PathReading::LENIENT).is_ok());
        prop_assume!(!rest.trim_end_matches('/').contains(';'));
        let found = rewritten(prefix(&matched, &replacement), &format!("http://a{path}"));
        let found = found.strip_prefix("http://a").unwrap();
        prop_assert_eq!(found, naive(&path, &matched, &replacement));
        prop_assert_eq!(super::super::path::normalize(found, super::super::path::PathReading::LENIENT), Ok(found.into()));
    }

    /// What configuration takes, and decoding from the wire.
    #[test]
    fn an_accepted_replacement_never_fails_on_a_normal_path(
        path in "(/[a-z.;%0-9A-F]{0,4}){1,4}", matched in "(/[a-z.;%0-9A-F]{0,3}){0,2}/?",
        replacement in "(/[a-z.%0-9A-F\u{e9}]{0,4}){0,3}/?", full: bool,
    ) {
        use super::super::path::{PathReading, is_normal, normalize};
        let Ok(path) = normalize(&path, PathReading::LENIENT) else { return Ok(()) };
        prop_assume!(is_normal(&matched) && (is_normal(&replacement) || (!full && replacement.is_empty())));
        let edit = if full { PathEdit::Full(replacement) } else { prefix(&matched, &replacement) };
        let found = rewritten(edit, &format!("http://a{path}"));
        let found = found.strip_prefix("http://a").unwrap();
        prop_assert_eq!(normalize(found, PathReading::LENIENT), Ok(found.into()));
    }

    #[test]
    fn header_modifiers_agree_with_a_naive_version(
        before in prop::collection::vec((0usize..6, "[a-z]{1,3}"), 0..12),
        remove in prop::collection::vec(0usize..6, 0..4),
        set in prop::collection::hash_map(0usize..6, "[a-z]{1,3}", 0..4),
        add in prop::collection::hash_map(0usize..6, "[a-z]{1,3}", 0..4),
    ) {
        const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        let name = |index: usize| HeaderName::from_static(NAMES[index]);
        let mut headers = HeaderMap::new();
        for (index, value) in &before {
            headers.append(name(*index), value.parse().unwrap());
        }
        let mut expected: Vec<(usize, String)> = before;
        expected.retain(|(index, _)| !remove.contains(index) && !set.contains_key(index));
        expected.extend(set.clone());
        expected.extend(add.clone());
        let pairs = |map: std::collections::HashMap<usize, String>| {
            map.into_iter().map(|(index, value)| (name(index), value.parse().unwrap())).collect()
        };
        let remove = remove.into_iter().map(name).collect();
        let edits = HeaderEdits { remove, set: pairs(set), add: pairs(add) };
        headers::edit(&mut headers, &edits);
        for (index, name) in NAMES.into_iter().enumerate() {
            let found: Vec<&str> = headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
            let expected: Vec<&str> = expected.iter().filter(|(i, _)| *i == index).map(|(_, v)| v.as_str()).collect();
            prop_assert_eq!(found, expected, "{}", name);
        }
    }
}

fn redirected(redirect: Redirect, uri: &str, asked: impl FnOnce(&mut Asked<'_>)) -> (u16, String) {
    let filters = Filters {
        redirect: Some(redirect),
        ..Filters::default()
    };
    let chain = Chain::of_rule(Some(&Arc::new(filters)), &HeaderMap::new());
    let head = head(uri);
    let mut question = Asked {
        method: &head.method,
        headers: &head.headers,
        uri: &head.uri,
        https: false,
        port: None,
    };
    asked(&mut question);
    let answer = chain.answer(&question).unwrap();
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), location)
}

fn nowhere() -> Redirect {
    Redirect {
        https: None,
        hostname: None,
        port: None,
        path: None,
        status: StatusCode::FOUND,
    }
}

#[test]
fn a_redirect_changes_what_it_names_and_keeps_the_rest() {
    let port = |number: u32| crate::value::Port::try_from(number).ok();
    let https = Redirect {
        https: Some(true),
        status: StatusCode::PERMANENT_REDIRECT,
        ..nowhere()
    };
    let host = Redirect {
        hostname: "b.c".parse().ok(),
        ..nowhere()
    };
    let both = Redirect {
        port: port(8443),
        ..https.clone()
    };
    let own_port = Redirect {
        port: port(443),
        ..https.clone()
    };
    let path = Redirect {
        path: Some(prefix("/x", "/z")),
        ..nowhere()
    };
    let table = [
        (https, (308, "https://a/x?y")),
        (host, (302, "http://b.c:8080/x?y")),
        (both, (308, "https://a:8443/x?y")),
        (own_port, (308, "https://a/x?y")),
        (path, (302, "http://a:8080/z?y")),
    ];
    for (redirect, (status, location)) in table {
        let found = redirected(redirect, "http://a:8080/x?y", |_| {});
        assert_eq!(found, (status, location.to_owned()));
    }
    let at_gateway = |asked: &mut Asked<'_>| {
        asked.https = true;
        asked.port = Some(443);
    };
    let found = redirected(nowhere(), "http://a:8080/x", at_gateway);
    assert_eq!(found.1, "https://a/x");
}

fn cors() -> Cors {
    Cors {
        allow_origins: vec!["https://*.shop.example".parse().unwrap()],
        allow_credentials: false,
        allow_methods: Listed::These(HeaderValue::from_static("PUT, DELETE")),
        allow_headers: Listed::Any,
        expose_headers: Listed::Any,
        max_age: std::time::Duration::from_secs(5),
    }
}

fn with_cors(cors: Cors, headers: &HeaderMap) -> Chain {
    let filters = Filters {
        cors: Some(cors),
        ..Filters::default()
    };
    Chain::of_rule(Some(&Arc::new(filters)), headers)
}

fn from(origin: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("origin", HeaderValue::from_static(origin));
    headers
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_preflight_is_answered_with_what_is_allowed_to_that_origin() {
    let preflight = |origin: &'static str| {
        let mut headers = from(origin);
        headers.insert(
            "access-control-request-method",
            HeaderValue::from_static("PUT"),
        );
        headers.insert(
            "access-control-request-headers",
            HeaderValue::from_static("x-a"),
        );
        let asked = Asked {
            method: &Method::OPTIONS,
            headers: &headers,
            uri: &Uri::from_static("http://a/"),
            https: false,
            port: None,
        };
        with_cors(cors(), &headers).answer(&asked).unwrap()
    };
    let answer = preflight("https://a.shop.example");
    assert_eq!(answer.status(), 204);
    let expected = [
        (
            "access-control-allow-origin",
            Some("https://a.shop.example"),
        ),
        ("access-control-allow-methods", Some("PUT, DELETE")),
        ("access-control-allow-headers", Some("x-a")),
        ("access-control-max-age", Some("5")),
        ("access-control-allow-credentials", None),
        ("vary", Some("Origin")),
    ];
    for (name, value) in expected {
        assert_eq!(text(answer.headers(), name), value, "{name}");
    }
    let stranger = preflight("https://shop.example.evil");
    assert_eq!(stranger.status(), 204);
    let names: Vec<&str> = stranger.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["vary"]);
}

#[test]
fn a_response_says_what_its_page_may_read_and_the_backend_has_no_say() {
    let answered = |cors: Cors, origin: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        headers.insert("x-a", HeaderValue::from_static("1"));
        with_cors(cors, &from(origin)).edit_response(&mut headers, Answerer::Backend);
        headers
    };
    let headers = answered(cors(), "https://a.shop.example");
    let origin = text(&headers, "access-control-allow-origin");
    assert_eq!(origin, Some("https://a.shop.example"));
    let exposed = text(&headers, "access-control-expose-headers");
    assert_eq!(exposed, Some("*"));
    let with_credentials = Cors {
        allow_credentials: true,
        ..cors()
    };
    let headers = answered(with_credentials, "https://a.shop.example");
    let credentials = text(&headers, "access-control-allow-credentials");
    assert_eq!(credentials, Some("true"));
    let exposed = text(&headers, "access-control-expose-headers");
    assert!(exposed.is_some_and(|names| names.contains("x-a") && !names.contains('*')));
    let headers = answered(cors(), "http://a.shop.example");
    assert_eq!(text(&headers, "access-control-allow-origin"), None);
}

#[test]
fn our_own_answers_may_be_read_by_the_page_that_asked() {
    let headers = from("https://a.shop.example");
    let redirect = Redirect {
        https: Some(true),
        hostname: None,
        port: None,
        path: None,
        status: StatusCode::FOUND,
    };
    let filters = Filters {
        cors: Some(cors()),
        redirect: Some(redirect),
        ..Filters::default()
    };
    let chain = Chain::of_rule(Some(&Arc::new(filters)), &headers);
    let asked = Asked {
        method: &Method::GET,
        headers: &headers,
        uri: &Uri::from_static("http://a/"),
        https: false,
        port: None,
    };
    let redirected = chain.answer(&asked).unwrap();
    let mut error = HeaderMap::new();
    chain.permit(&mut error);
    for headers in [redirected.headers(), &error] {
        let origin = text(headers, "access-control-allow-origin");
        assert_eq!(origin, Some("https://a.shop.example"));
    }
    let mut unfiltered = HeaderMap::new();
    Chain::default().permit(&mut unfiltered);
    assert!(unfiltered.is_empty());
}

#[test]
fn a_backends_filters_come_after_the_rules_and_are_not_for_stand_ins() {
    let tagged = |tag: &'static str| {
        let name = HeaderName::from_static("x-tag");
        let edits = HeaderEdits {
            set: vec![(name, HeaderValue::from_static(tag))],
            ..HeaderEdits::default()
        };
        Arc::new(Filters {
            request: edits.clone(),
            response: edits,
            ..Filters::default()
        })
    };
    let mut chain = Chain::of_rule(Some(&tagged("rule")), &HeaderMap::new());
    chain.for_backend(Some(&tagged("backend")), &HeaderMap::new());
    let mut request = head("http://a/");
    let before = chain.edit_request(&mut request).unwrap().unwrap();
    assert_eq!(request.headers["x-tag"], "backend");
    assert_eq!(before.headers["x-tag"], "rule");
    for (by, tag) in [(Answerer::Backend, "backend"), (Answerer::StandIn, "rule")] {
        let mut headers = HeaderMap::new();
        chain.edit_response(&mut headers, by);
        assert_eq!(headers["x-tag"], tag);
    }
}

#[test]
fn no_filters_change_nothing() {
    let chain = Chain::of_rule(None, &HeaderMap::new());
    assert!(chain.is_empty() && chain.mirrors().next().is_none());
    let mut request = head("http://a/x?y");
    assert!(chain.edit_request(&mut request).unwrap().is_none());
    assert_eq!(request.uri, "http://a/x?y");
}
