//! What a request must look like: Gateway API's matches → the model's.

use http::Method;
use usher_config::{
    kind,
    model::{PathMatch, RouteMatch, TextMatch},
    value::Pattern,
};

/// An HTTPRoute's match.
pub(super) fn http(written: &kind::HttpRouteMatch) -> RouteMatch {
    RouteMatch {
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
    }
}

/// A GRPCRoute's match: gRPC is `POST /package.Service/Method`.
///
/// # Errors
/// Two expressions that compile apart but not together: too large.
pub(super) fn grpc(written: &kind::GrpcRouteMatch) -> Result<RouteMatch, String> {
    Ok(RouteMatch {
        path: written
            .method
            .as_ref()
            .map_or_else(|| Ok(PathMatch::default()), grpc_path)?,
        method: Some(Method::POST),
        headers: headers(&written.headers),
        query: Vec::new(),
    })
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
        (service, method) => {
            let pattern = format!(
                "/{}/{}",
                element(service.as_ref()),
                element(method.as_ref())
            );
            let pattern: Pattern = pattern.parse().map_err(|_| {
                format!(
                    "the expressions for service and method are too large together: {pattern:?}"
                )
            })?;
            Ok(PathMatch::Regex(pattern))
        }
    }
}

/// One path element as an expression.
fn element(text: Option<&kind::TextMatch>) -> String {
    match text {
        None => "[^/]+".to_owned(),
        Some(kind::TextMatch::RegularExpression(pattern)) => format!("(?:{})", pattern.as_str()),
        // gRPC names are letters, digits, `_` and `.`; only the last needs care.
        Some(kind::TextMatch::Exact(text)) => text
            .chars()
            .flat_map(|c| {
                let escape = (!c.is_alphanumeric() && c != '_').then_some('\\');
                escape.into_iter().chain([c])
            })
            .collect(),
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
