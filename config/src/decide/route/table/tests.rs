//! A compiled table agrees with trying each route in order.

use std::sync::Arc;

use crate::{
    model::{Backend, BackendTarget, PathMatch, Route, RouteMatch, TextMatch},
    value::Weight,
};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::{
    super::{Mismatch, mismatch},
    *,
};

fn route(name: &str, matches: RouteMatch) -> Route {
    Route {
        name: name.into(),
        ports: Vec::new(),
        hostnames: Vec::new(),
        matches: matches.into(),
        backends: Arc::default(),
        policy: Arc::default(),
        filters: None,
        callers: None,
    }
}

fn path(path: PathMatch) -> RouteMatch {
    RouteMatch {
        path,
        ..RouteMatch::default()
    }
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(text.into())
}

fn exact(text: &str) -> PathMatch {
    PathMatch::Exact(text.into())
}

struct Asked {
    path: String,
    query: String,
    method: Method,
    headers: HeaderMap,
    host: String,
    authority: String,
}

fn asked(path: &str) -> Asked {
    Asked {
        path: path.into(),
        query: String::new(),
        method: Method::GET,
        headers: HeaderMap::new(),
        host: "account.bank".into(),
        authority: "Account.bank:8080".into(),
    }
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request {
            port: "8080".parse().unwrap(),
            host: &self.host,
            authority: &self.authority,
            path: &self.path,
            query: &self.query,
            method: &self.method,
            headers: &self.headers,
        }
    }
}

fn takes(matches: RouteMatch, asked: &Asked) -> bool {
    Table::new(vec![route("r", matches)])
        .select(&asked.request())
        .is_some()
}

#[test]
fn prefixes_cover_whole_elements() {
    for (pattern, asks, covered) in [
        ("/a", "/a", true),
        ("/a", "/a/", true),
        ("/a", "/a/b", true),
        ("/a", "/ab", false),
        ("/a/", "/a", true),
        ("/", "/anything", true),
        ("/a/b", "/a", false),
        ("/a", "/a;x", true),
        ("/a/b", "/a/b;v=1;w", true),
        ("/a", "/ab;/a", false),
    ] {
        assert_eq!(
            takes(path(prefix(pattern)), &asked(asks)),
            covered,
            "{pattern} {asks}"
        );
    }
}

#[test]
fn methods_headers_and_queries_must_all_match() {
    let matches = RouteMatch {
        method: Some(Method::GET),
        headers: vec![(
            "version".parse().unwrap(),
            TextMatch::Exact("two,three".into()),
        )],
        query: vec![("who".into(), TextMatch::Regex("b.b x".parse().unwrap()))],
        ..RouteMatch::default()
    };
    let mut fitting = asked("/");
    fitting.query = "a=1&who=b%6Fb+x&who=eve".into();
    fitting
        .headers
        .append("version", HeaderValue::from_static("two"));
    fitting
        .headers
        .append("version", HeaderValue::from_static("three"));
    assert!(takes(matches.clone(), &fitting));
    assert!(!takes(
        matches.clone(),
        &Asked {
            method: Method::POST,
            ..asked("/")
        }
    ));
    fitting.query = "who=eve&who=bob+x".into();
    assert!(
        !takes(matches.clone(), &fitting),
        "the first of a repeated name counts"
    );
    fitting.query = "who=bob+x".into();
    fitting.headers.remove("version");
    assert!(!takes(matches, &fitting));
}

#[test]
fn people_are_told_the_first_condition_that_does_not_hold() {
    let narrowed = Route {
        ports: vec!["8080".parse().unwrap()],
        hostnames: vec!["account.bank".parse().unwrap()],
        ..route(
            "r",
            RouteMatch {
                path: exact("/v1"),
                method: Some(Method::GET),
                headers: vec![("version".parse().unwrap(), TextMatch::Exact("two".into()))],
                query: vec![("who".into(), TextMatch::Exact("bob".into()))],
            },
        )
    };
    let mut asked = asked("/v2");
    (asked.host, asked.method) = ("other.bank".into(), Method::PUT);
    let mut told = Vec::new();
    let elsewhere = Request {
        port: "80".parse().unwrap(),
        ..asked.request()
    };
    told.extend(mismatch(&narrowed, &elsewhere));
    told.extend(mismatch(&narrowed, &asked.request()));
    asked.host = "account.bank".into();
    told.extend(mismatch(&narrowed, &asked.request()));
    asked.path = "/v1".into();
    told.extend(mismatch(&narrowed, &asked.request()));
    asked.method = Method::GET;
    told.extend(mismatch(&narrowed, &asked.request()));
    let version = HeaderValue::from_static("two");
    asked.headers.insert("version", version);
    told.extend(mismatch(&narrowed, &asked.request()));
    asked.query = "who=bob".into();
    assert_eq!(mismatch(&narrowed, &asked.request()), None);
    let expected = [
        Mismatch::Port,
        Mismatch::Hostname,
        Mismatch::Path,
        Mismatch::Method,
        Mismatch::Header("version".parse().unwrap()),
        Mismatch::Query("who".into()),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_match_of_the_header_host_looks_at_the_authority() {
    let matches = |wanted: TextMatch| RouteMatch {
        headers: vec![(header::HOST, wanted)],
        ..RouteMatch::default()
    };
    let mut asked = asked("/");
    asked
        .headers
        .insert(header::HOST, HeaderValue::from_static("other"));
    for (wanted, taken) in [
        (TextMatch::Exact("Account.bank:8080".into()), true),
        (TextMatch::Exact("account.bank".into()), false),
        (TextMatch::Exact("other".into()), false),
        (
            TextMatch::Regex("(?i)account\\.bank(:\\d+)?".parse().unwrap()),
            true,
        ),
    ] {
        assert_eq!(takes(matches(wanted.clone()), &asked), taken, "{wanted:?}");
    }
}

#[test]
fn routes_govern_their_ports() {
    let narrowed = |ports: Vec<Port>| Route {
        ports,
        ..route("r", path(exact("/nowhere")))
    };
    let port = |number: &str| number.parse::<Port>().unwrap();
    let some = Table::new(vec![narrowed(vec![port("80"), port("81")])]);
    assert!(some.governs(port("81")) && !some.governs(port("82")));
    assert!(Table::new(vec![narrowed(Vec::new())]).governs(port("82")));
    assert!(!Table::default().governs(port("80")));
}

#[test]
fn hosts_and_ports_narrow_a_route() {
    let narrowed = |host: &str, port: &str| Route {
        hostnames: vec![host.parse().unwrap()],
        ports: vec![port.parse().unwrap()],
        ..route("r", RouteMatch::default())
    };
    for (host, port, taken) in [
        ("account.bank", "8080", true),
        ("*.bank", "8080", true),
        ("*.shop", "8080", false),
        ("account.bank", "80", false),
    ] {
        let table = Table::new(vec![narrowed(host, port)]);
        assert_eq!(
            table.select(&asked("/").request()).is_some(),
            taken,
            "{host} {port}"
        );
    }
}

#[test]
fn backends_get_their_weights() {
    let backend = |weight: u32| Backend {
        weight: Weight::try_from(weight).unwrap(),
        target: BackendTarget::Invalid(weight.to_string()),
        filters: None,
    };
    let backends = [backend(10), backend(0), backend(90)];
    let mut counts = [0; 3];
    for random in (0..10_000).map(|n| random::split(n).0) {
        let picked = pick_backend(&backends, random).unwrap();
        counts[backends
            .iter()
            .position(|backend| backend == picked)
            .unwrap()] += 1;
    }
    assert!(
        (900..1100).contains(&counts[0]) && counts[1] == 0,
        "{counts:?}"
    );
    assert_eq!(pick_backend(&[backend(0)], 1), None);
    assert_eq!(pick_backend(&[backend(0), backend(0)], 1), None);
    assert_eq!(pick_backend(&[], 1), None);
}

fn any_path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        "(/[ab]{0,2}){1,3}".prop_map(|text| exact(&text)),
        "(/[ab]{0,2}){1,3}/?".prop_map(|text| prefix(&text)),
        prop::sample::select(vec!["/a.*", "/.*b", "/[ab]/.*"])
            .prop_map(|text| PathMatch::Regex(text.parse().unwrap())),
    ]
}

fn any_route() -> impl Strategy<Value = Route> {
    let method = prop::option::weighted(0.3, prop::sample::select(vec![Method::GET, Method::POST]));
    (any_path_match(), method).prop_map(|(path, method)| {
        route(
            "r",
            RouteMatch {
                path,
                method,
                ..RouteMatch::default()
            },
        )
    })
}

proptest! {
    #[test]
    fn the_compiled_table_agrees_with_trying_each(
        routes in prop::collection::vec(any_route(), 0..40),
        asks in prop::collection::vec("(/[ab]{0,2}){1,4}(;[ab]?)?", 1..20),
        method in prop::sample::select(vec![Method::GET, Method::PUT]),
    ) {
        let table = Table::new(routes.clone());
        for path in asks {
            let asked = Asked { method: method.clone(), ..asked(&path) };
            let request = asked.request();
            let naive = routes.iter().position(|route| {
                let path = path.split(';').next().unwrap();
                path_matches(&route.matches.path, path) && others_match(route, &request)
            });
            let why = routes.iter().position(|route| mismatch(route, &request).is_none());
            prop_assert_eq!(why, naive, "what people are told: {}", path);
            prop_assert_eq!(table.select(&request).map(|(position, _)| position), naive, "{}", path);
            prop_assert_eq!(table.select_compiled(&request).map(|(position, _)| position), naive, "{}", path);
        }
    }
}
