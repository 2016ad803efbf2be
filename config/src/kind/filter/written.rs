//! How filters look on paper: `type`, and the field of its name.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::super::matches::schema_as;
use super::{
    Cors, GrpcFilter, GrpcFilterType, HeaderModifier, HttpFilter, HttpFilterType, PathModifier,
    PathModifierType, RequestMirror, RequestRedirect, UrlRewrite,
};

pub(super) fn write_name<S: Serializer>(
    name: &http::HeaderName,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    name.as_str().serialize(serializer)
}

pub(super) fn write_names<S: Serializer>(
    names: &[http::HeaderName],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(http::HeaderName::as_str))
}

#[derive(Default, Serialize)]
#[serde(rename = "HTTPFilter", rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct HttpFilterShape<'a> {
    /// Which of the others is there.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(with = "HttpFilterType"))]
    kind: Option<HttpFilterType>,
    /// For `RequestHeaderModifier`.
    request_header_modifier: Option<&'a HeaderModifier>,
    /// For `ResponseHeaderModifier`.
    response_header_modifier: Option<&'a HeaderModifier>,
    /// For `RequestMirror`.
    request_mirror: Option<&'a RequestMirror>,
    /// For `RequestRedirect`.
    request_redirect: Option<&'a RequestRedirect>,
    /// For `URLRewrite`.
    url_rewrite: Option<&'a UrlRewrite>,
    /// For `CORS`.
    cors: Option<&'a Cors>,
}

#[derive(Default, Serialize)]
#[serde(rename = "GRPCFilter", rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct GrpcFilterShape<'a> {
    /// Which of the others is there.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(with = "GrpcFilterType"))]
    kind: Option<GrpcFilterType>,
    /// For `RequestHeaderModifier`.
    request_header_modifier: Option<&'a HeaderModifier>,
    /// For `ResponseHeaderModifier`.
    response_header_modifier: Option<&'a HeaderModifier>,
    /// For `RequestMirror`.
    request_mirror: Option<&'a RequestMirror>,
}

#[derive(Serialize)]
#[serde(rename = "PathModifier", rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct PathModifierShape<'a> {
    /// Which of the others is there.
    r#type: PathModifierType,
    /// For `ReplaceFullPath`.
    replace_full_path: Option<&'a str>,
    /// For `ReplacePrefixMatch`.
    replace_prefix_match: Option<&'a str>,
}

impl Serialize for HttpFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = HttpFilterShape {
            kind: Some(self.kind()),
            ..HttpFilterShape::default()
        };
        match self {
            Self::RequestHeaderModifier(filter) => shape.request_header_modifier = Some(filter),
            Self::ResponseHeaderModifier(filter) => shape.response_header_modifier = Some(filter),
            Self::RequestMirror(filter) => shape.request_mirror = Some(filter),
            Self::RequestRedirect(filter) => shape.request_redirect = Some(filter),
            Self::UrlRewrite(filter) => shape.url_rewrite = Some(filter),
            Self::Cors(filter) => shape.cors = Some(filter),
        }
        shape.serialize(serializer)
    }
}

impl Serialize for GrpcFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = GrpcFilterShape {
            kind: Some(self.kind()),
            ..GrpcFilterShape::default()
        };
        match self {
            Self::RequestHeaderModifier(filter) => shape.request_header_modifier = Some(filter),
            Self::ResponseHeaderModifier(filter) => shape.response_header_modifier = Some(filter),
            Self::RequestMirror(filter) => shape.request_mirror = Some(filter),
        }
        shape.serialize(serializer)
    }
}

impl Serialize for PathModifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, full, prefix) = match self {
            Self::ReplaceFullPath(path) => (PathModifierType::ReplaceFullPath, Some(path), None),
            Self::ReplacePrefixMatch(path) => {
                (PathModifierType::ReplacePrefixMatch, None, Some(path))
            }
        };
        PathModifierShape {
            r#type: kind,
            replace_full_path: full.map(String::as_str),
            replace_prefix_match: prefix.map(String::as_str),
        }
        .serialize(serializer)
    }
}

schema_as!(HttpFilter, HttpFilterShape<'_>);
schema_as!(GrpcFilter, GrpcFilterShape<'_>);
schema_as!(PathModifier, PathModifierShape<'_>);
