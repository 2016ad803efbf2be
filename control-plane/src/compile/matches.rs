//! What a request must look like: Gateway API's matches → the model's.

use std::{cmp::Reverse, sync::Arc};

use http::Method;
use usher_config::{
    kind,
    model::{PathMatch, RouteMatch, TextMatch},
};

/// What a request must look like, and how precise that is.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub(super) wanted: Arc<RouteMatch>,
    /// Of a GRPCRoute: it is ranked by this, and not by the path that it becomes.
    pub(super) call: Option<CallRank>,
}

impl Match {
    /// Of an HTTPRoute.
    pub(super) fn http(wanted: RouteMatch) -> Self {
        Self {
            wanted: Arc::new(wanted),
            call: None,
        }
    }
}

/// How precise a GRPCRoute's match is: by its service, then by its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallRank {
    pub(super) service: ElementRank,
    pub(super) method: ElementRank,
}

/// Smaller is tried first: all characters of a name, then an expression by its length (upstream leaves their order
/// open), then anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ElementRank {
    Exact(Reverse<usize>),
    Expression(Reverse<usize>),
    Any,
}

impl ElementRank {
    fn of(text: Option<&kind::TextMatch>) -> Self {
        let length = |text: &str| Reverse(text.chars().count());
        match text {
            Some(kind::TextMatch::Exact(text)) => Self::Exact(length(text)),
            Some(kind::TextMatch::RegularExpression(pattern)) => {
                Self::Expression(length(pattern.as_str()))
            }
            None => Self::Any,
        }
    }
}

/// An HTTPRoute's match.
pub(super) fn http(written: &kind::HttpRouteMatch) -> Match {
    Match::http(RouteMatch {
        path: match &written.path {
            None => PathMatch::default(),
            Some(kind::PathMatch::Exact(path)) => PathMatch::Exact(path.clone()),
            Some(kind::PathMatch::PathPrefix(path)) => PathMatch::Prefix(path.clone()),
            Some(kind::PathMatch::RegularExpression(pattern)) => PathMatch::Regex(pattern.clone()),
        },
        method: written.method.map(Method::from),
        headers: headers(&written.headers),
        query: written
            .query_params
            .iter()
            .map(|query| (query.name.clone(), text(&query.value)))
            .collect(),
    })
}

/// A GRPCRoute's match: gRPC is `POST /package.Service/Method`.
///
/// # Errors
/// Two expressions that compile apart but not together: too large.
pub(super) fn grpc(written: &kind::GrpcRouteMatch) -> Result<Match, String> {
    let method = written.method.as_ref();
    let wanted = RouteMatch {
        path: method.map_or_else(|| Ok(PathMatch::default()), grpc_path)?,
        method: Some(Method::POST),
        headers: headers(&written.headers),
        query: Vec::new(),
    };
    Ok(Match {
        wanted: Arc::new(wanted),
        call: Some(CallRank {
            service: ElementRank::of(method.and_then(|method| method.service.as_ref())),
            method: ElementRank::of(method.and_then(|method| method.method.as_ref())),
        }),
    })
}

/// Of a GRPCRoute's rule without matches.
pub(super) fn any_call() -> Match {
    Match {
        wanted: Arc::new(RouteMatch {
            method: Some(Method::POST),
            ..RouteMatch::default()
        }),
        call: Some(CallRank {
            service: ElementRank::Any,
            method: ElementRank::Any,
        }),
    }
}

fn grpc_path(method: &kind::GrpcMethodMatch) -> Result<PathMatch, String> {
    match (&method.service, &method.method) {
        (Some(kind::TextMatch::Exact(service)), Some(kind::TextMatch::Exact(method))) => {
            Ok(PathMatch::Exact(format!("/{service}/{method}")))
        }
        (Some(kind::TextMatch::Exact(service)), None) => {
            Ok(PathMatch::Prefix(format!("/{service}")))
        }
        (None, None) => Ok(PathMatch::default()),
        _ => method
            .path_pattern()
            .map(PathMatch::Regex)
            .map_err(|invalid| format!("service and method together: {invalid}")),
    }
}

pub(super) fn headers(written: &[kind::HeaderMatch]) -> Vec<(http::HeaderName, TextMatch)> {
    written
        .iter()
        .map(|header| (header.name.clone(), text(&header.value)))
        .collect()
}

fn text(written: &kind::TextMatch) -> TextMatch {
    match written {
        kind::TextMatch::Exact(text) => TextMatch::Exact(text.clone()),
        kind::TextMatch::RegularExpression(pattern) => TextMatch::Regex(pattern.clone()),
    }
}

/// As people are told: `path /x…, method GET`.
pub fn described(wanted: &RouteMatch) -> String {
    let path = match &wanted.path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(path) => format!("path {path}…"),
        PathMatch::Regex(pattern) => format!("path like {}", pattern.as_str()),
    };
    let text = |wanted: &TextMatch| match wanted {
        TextMatch::Exact(text) => format!("={text}"),
        TextMatch::Regex(pattern) => format!(" like {}", pattern.as_str()),
    };
    let method = wanted
        .method
        .iter()
        .map(|method| format!("method {method}"));
    let headers = wanted.headers.iter();
    let headers = headers.map(|(name, wanted)| format!("header {name}{}", text(wanted)));
    let query = wanted.query.iter();
    let query = query.map(|(name, wanted)| format!("query {name}{}", text(wanted)));
    let all = [path].into_iter().chain(method).chain(headers).chain(query);
    all.collect::<Vec<_>>().join(", ")
}
