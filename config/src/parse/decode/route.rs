//! `HTTPRoute` and `GRPCRoute`.

use http::HeaderName;

use crate::{
    kind::{
        GrpcMethodMatch, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec, HeaderMatch, HttpFilter,
        HttpFilterType, HttpRouteMatch, HttpRouteRetry, HttpRouteRule, HttpRouteSpec,
        HttpRouteTimeouts, PathMatch, PathMatchType, QueryMatch, TextMatch, TextMatchType,
    },
    parse::fields::{Fields, Once},
    parse::place::Place,
    value::{Hostname, Name, path},
};

use super::{
    at_most,
    filter::{self, Prefix},
    reference,
    traffic_policy::codes,
};

const PATH: &str =
    "an absolute path without query, fragment, `;`, `//`, `.` or `..` segments or escaped slash";

/// Upstream's bounds: what is valid here is valid in a cluster, and matching stays quick.
const RULES_MAX: usize = 16;
const MATCHES_MAX: usize = 128;

pub(super) fn http(place: &Place<'_>) -> Option<HttpRouteSpec> {
    let mut fields = place.fields()?;
    fields.unsupported("useDefaultGateways");
    let parent_refs = reference::parents(&mut fields);
    let hostnames = hostnames(&mut fields);
    let mut names = Once::default();
    let rules = fields.list("rules", 1..=RULES_MAX, |place| {
        http_rule(&place, &mut names)
    });
    bound_matches(
        &mut fields,
        rules.iter().map(|rule| rule.matches.len()).sum(),
    );
    fields.finish();
    Some(HttpRouteSpec {
        parent_refs,
        hostnames,
        rules,
    })
}

pub(super) fn grpc(place: &Place<'_>) -> Option<GrpcRouteSpec> {
    let mut fields = place.fields()?;
    fields.unsupported("useDefaultGateways");
    let parent_refs = reference::parents(&mut fields);
    let hostnames = hostnames(&mut fields);
    let mut names = Once::default();
    let rules = fields.list("rules", 1..=RULES_MAX, |place| {
        grpc_rule(&place, &mut names)
    });
    bound_matches(
        &mut fields,
        rules.iter().map(|rule| rule.matches.len()).sum(),
    );
    fields.finish();
    Some(GrpcRouteSpec {
        parent_refs,
        hostnames,
        rules,
    })
}

fn bound_matches(fields: &mut Fields<'_>, count: usize) {
    if let Some(rules) = fields.at("rules").filter(|_| count > MATCHES_MAX) {
        rules.wrong::<()>(
            format!("{count} matches"),
            format!("at most {MATCHES_MAX} in all rules together"),
        );
    }
}

fn hostnames(fields: &mut Fields<'_>) -> Vec<Hostname> {
    fields.list("hostnames", 0..=16, |place| place.parse())
}

fn rule_name(fields: &mut Fields<'_>, names: &mut Once) -> Option<Name> {
    fields.optional("name", |place| {
        let name: Name = place.parse()?;
        names.check(&place, name.as_str());
        Some(name)
    })
}

fn http_rule(place: &Place<'_>, names: &mut Once) -> Option<HttpRouteRule> {
    let mut fields = place.fields()?;
    fields.unsupported("sessionPersistence");
    let name = rule_name(&mut fields, names);
    let matches = fields.list("matches", 0..=64, |place| http_match(&place));
    let prefix = sole_prefix(&matches);
    let filters = filter::http(&mut fields, prefix);
    let backend_refs = reference::http_backends(&mut fields, prefix);
    let redirects = |filter: &HttpFilter| filter.kind() == HttpFilterType::RequestRedirect;
    if filters.iter().any(redirects)
        && let Some(place) = fields.at("backendRefs").filter(|place| place.len() > 0)
    {
        let found = "backends of a rule that redirects";
        place.wrong::<()>(found, "none: a redirect is answered at once");
    }
    let rule = HttpRouteRule {
        name,
        matches,
        filters,
        backend_refs,
        timeouts: fields.group("timeouts", timeouts),
        retry: fields.group("retry", retry),
    };
    fields.finish();
    Some(rule)
}

/// What a `ReplacePrefixMatch` needs. No match at all is one of the prefix `/`.
fn sole_prefix(matches: &[HttpRouteMatch]) -> Prefix {
    match matches {
        [] => Prefix::Sole,
        [only] => match &only.path {
            None | Some(PathMatch::PathPrefix(_)) => Prefix::Sole,
            Some(PathMatch::Exact(_) | PathMatch::RegularExpression(_)) => Prefix::None,
        },
        _ => Prefix::None,
    }
}

fn timeouts(place: Place<'_>) -> Option<HttpRouteTimeouts> {
    let mut fields = place.fields()?;
    let request = fields.optional("request", |place| place.parse());
    let backend_request = fields.optional("backendRequest", |place| place.parse());
    let bound = request.filter(|request: &crate::value::Timespan| !request.0.is_zero());
    at_most(
        &mut fields,
        ("backendRequest", backend_request),
        ("request", bound),
    );
    fields.finish();
    Some(HttpRouteTimeouts {
        request,
        backend_request,
    })
}

fn retry(place: Place<'_>) -> Option<HttpRouteRetry> {
    let mut fields = place.fields()?;
    let retry = HttpRouteRetry {
        codes: codes(&mut fields),
        attempts: fields.optional("attempts", |place| place.integer(0..=10)),
        backoff: fields.optional("backoff", super::positive),
    };
    fields.finish();
    Some(retry)
}

fn http_match(place: &Place<'_>) -> Option<HttpRouteMatch> {
    let mut fields = place.fields()?;
    let matches = HttpRouteMatch {
        path: fields.optional("path", path_match),
        method: fields.optional("method", |place| place.choice()),
        headers: headers(&mut fields),
        query_params: query_params(&mut fields),
    };
    fields.finish();
    Some(matches)
}

fn path_match(place: Place<'_>) -> Option<PathMatch> {
    let mut fields = place.fields()?;
    let kind = fields
        .optional("type", |place| place.choice())
        .unwrap_or(PathMatchType::PathPrefix);
    let plain = |place: Place<'_>| normal_path(&place, is_plain_path, PATH);
    let matches = match (kind, fields.at("value")) {
        (PathMatchType::Exact, value) => {
            value.map_or(Some("/".into()), plain).map(PathMatch::Exact)
        }
        (PathMatchType::PathPrefix, value) => value
            .map_or(Some("/".into()), plain)
            .map(PathMatch::PathPrefix),
        (PathMatchType::RegularExpression, _) => fields
            .required("value", |place| place.parse())
            .map(PathMatch::RegularExpression),
    };
    fields.finish();
    matches
}

pub(super) fn is_plain_path(text: &str) -> bool {
    text.len() <= 1024 && path::is_normal(text)
}

/// A path that requests can have; where it is another spelling of one, that one is shown.
pub(super) fn normal_path(
    place: &Place<'_>,
    valid: impl Fn(&str) -> bool,
    allowed: &str,
) -> Option<String> {
    let text = place.text()?;
    let normal = path::meant(text).filter(|normal| !valid(text) && valid(normal));
    match normal {
        Some(normal) => {
            let found = format!("`{}`", super::super::tree::shorten(text));
            place.wrong(found, format!("the path as it is sent, `{normal}`"))
        }
        None => place.read(|text| valid(text).then(|| text.to_owned()), allowed),
    }
}

fn text(kind: TextMatchType, place: &Place<'_>) -> Option<TextMatch> {
    match kind {
        TextMatchType::Exact => place.text().map(|text| TextMatch::Exact(text.to_owned())),
        TextMatchType::RegularExpression => place.parse().map(TextMatch::RegularExpression),
    }
}

fn text_type(fields: &mut Fields<'_>) -> TextMatchType {
    fields
        .optional("type", |place| place.choice())
        .unwrap_or(TextMatchType::Exact)
}

/// Header matches.
pub(super) fn headers(fields: &mut Fields<'_>) -> Vec<HeaderMatch> {
    let mut once = Once::default();
    fields.list("headers", 0..=16, |place| {
        let mut fields = place.fields()?;
        let kind = text_type(&mut fields);
        let name = fields.required("name", |place| header_name(&place));
        let value = fields.required("value", |place| text(kind, &place));
        fields.finish();
        let name = name?;
        once.check(&place, name.as_str());
        Some(HeaderMatch {
            name,
            value: value?,
        })
    })
}

pub(super) fn header_name(place: &Place<'_>) -> Option<HeaderName> {
    place.read(
        |text| HeaderName::from_bytes(text.as_bytes()).ok(),
        "a header's name (RFC 9110 token)",
    )
}

fn query_params(fields: &mut Fields<'_>) -> Vec<QueryMatch> {
    let mut once = Once::default();
    fields.list("queryParams", 0..=16, |place| {
        let mut fields = place.fields()?;
        let kind = text_type(&mut fields);
        let sane = |text: &str| (1..=256).contains(&text.len()).then(|| text.to_owned());
        let name = fields.required("name", |place| place.read(sane, "1 to 256 characters"));
        let value = fields.required("value", |place| text(kind, &place));
        fields.finish();
        let name = name?;
        once.check(&place, name.as_str());
        Some(QueryMatch {
            name,
            value: value?,
        })
    })
}

fn grpc_rule(place: &Place<'_>, names: &mut Once) -> Option<GrpcRouteRule> {
    let mut fields = place.fields()?;
    fields.unsupported("sessionPersistence");
    let rule = GrpcRouteRule {
        name: rule_name(&mut fields, names),
        matches: fields.list("matches", 0..=64, |place| {
            let mut fields = place.fields()?;
            let method = fields.optional("method", grpc_method);
            let headers = headers(&mut fields);
            fields.finish();
            Some(GrpcRouteMatch { method, headers })
        }),
        filters: filter::grpc(&mut fields),
        backend_refs: reference::grpc_backends(&mut fields),
    };
    fields.finish();
    Some(rule)
}

fn grpc_method(place: Place<'_>) -> Option<GrpcMethodMatch> {
    let mut fields = place.fields()?;
    let kind = text_type(&mut fields);
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
    };
    let name = |place: Place<'_>| match (kind, place.text()?) {
        (TextMatchType::Exact, text) if !is_name(text) => place.wrong(
            format!("`{}`", super::super::tree::shorten(text)),
            "letters, digits, `_`, `.`",
        ),
        _ => text(kind, &place),
    };
    let written = fields.at("service").is_some() || fields.at("method").is_some();
    let service = fields.optional("service", name);
    let method = fields.optional("method", name);
    fields.finish();
    if !written {
        return place.wrong("neither `service` nor `method`", "at least one of them");
    }
    let matches = GrpcMethodMatch { service, method };
    if kind == TextMatchType::RegularExpression && matches.path_pattern().is_err() {
        let found = "expressions for service and method that are too large together";
        return place.wrong(found, "smaller ones");
    }
    Some(matches)
}
