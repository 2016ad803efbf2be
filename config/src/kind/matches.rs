//! What a request may be asked for: path, method, headers, query.
//!
//! Each match knows by its type whether it holds a text or an expression that compiles. Gateway API writes that
//! as `type` beside `value` with a default; the `…Shape` structs are that spelling, for writing and for the schema.

use http::HeaderName;
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::value::{InvalidValue, Pattern};

use super::choice::choice;

choice! {
    /// The methods Gateway API knows.
    pub enum HttpMethod {
        /// RFC 9110 §9.3.1
        Get = "GET",
        /// RFC 9110 §9.3.2
        Head = "HEAD",
        /// RFC 9110 §9.3.3
        Post = "POST",
        /// RFC 9110 §9.3.4
        Put = "PUT",
        /// RFC 9110 §9.3.5
        Delete = "DELETE",
        /// RFC 9110 §9.3.6
        Connect = "CONNECT",
        /// RFC 9110 §9.3.7
        Options = "OPTIONS",
        /// RFC 9110 §9.3.8
        Trace = "TRACE",
        /// RFC 5789
        Patch = "PATCH",
    }
}

impl From<HttpMethod> for http::Method {
    fn from(method: HttpMethod) -> Self {
        match method {
            HttpMethod::Get => Self::GET,
            HttpMethod::Head => Self::HEAD,
            HttpMethod::Post => Self::POST,
            HttpMethod::Put => Self::PUT,
            HttpMethod::Delete => Self::DELETE,
            HttpMethod::Connect => Self::CONNECT,
            HttpMethod::Options => Self::OPTIONS,
            HttpMethod::Trace => Self::TRACE,
            HttpMethod::Patch => Self::PATCH,
        }
    }
}

choice! {
    /// How a path is compared.
    pub enum PathMatchType {
        /// Byte for byte.
        Exact = "Exact",
        /// Whole elements: `/a` covers `/a` and `/a/b`, not `/ab`.
        PathPrefix = "PathPrefix",
        /// All of the path, RE2 syntax.
        RegularExpression = "RegularExpression",
    }
}

choice! {
    /// How a text is compared.
    pub enum TextMatchType {
        /// Byte for byte.
        Exact = "Exact",
        /// All of it, RE2 syntax.
        RegularExpression = "RegularExpression",
    }
}

/// How the path is compared. Absolute, without dot segments, `//`, `%2f` or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// Byte for byte.
    Exact(String),
    /// Whole elements: `/a` covers `/a` and `/a/b`, not `/ab`. The type when none is given.
    PathPrefix(String),
    /// All of the path.
    RegularExpression(Pattern),
}

/// How a header, query parameter, service or method is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatch {
    /// Byte for byte. The type when none is given.
    Exact(String),
    /// All of the value.
    RegularExpression(Pattern),
}

impl TextMatch {
    fn parts(&self) -> (TextMatchType, &str) {
        match self {
            Self::Exact(text) => (TextMatchType::Exact, text),
            Self::RegularExpression(pattern) => {
                (TextMatchType::RegularExpression, pattern.as_str())
            }
        }
    }
}

/// A header that must be there; several values of one name are joined by `,`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Any case; compared in lower case.
    pub name: HeaderName,
    /// What it must hold.
    pub value: TextMatch,
}

/// A query parameter that must be there; of a repeated name the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// Byte for byte, after percent-decoding.
    pub name: String,
    /// What it must hold.
    pub value: TextMatch,
}

/// A gRPC service, method, or both. At least one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcMethodMatch {
    /// `package.Service`.
    pub service: Option<TextMatch>,
    /// The method's own name. Both fields are compared the same way.
    pub method: Option<TextMatch>,
}

impl GrpcMethodMatch {
    /// All of a path that it takes, `/package.Service/Method`, as an expression.
    ///
    /// # Errors
    /// The expressions for service and method are good apart but too large together.
    pub fn path_pattern(&self) -> Result<Pattern, InvalidValue> {
        let (service, method) = (
            element(self.service.as_ref()),
            element(self.method.as_ref()),
        );
        format!("/{service}/{method}").parse()
    }
}

/// One path element as an expression.
fn element(text: Option<&TextMatch>) -> String {
    match text {
        None => "[^/]+".to_owned(),
        Some(TextMatch::RegularExpression(pattern)) => format!("(?:{})", pattern.as_str()),
        // gRPC names are letters, digits, `_` and `.`; only the last needs care.
        Some(TextMatch::Exact(text)) => text
            .chars()
            .flat_map(|c| {
                let escape = (!c.is_alphanumeric() && c != '_').then_some('\\');
                escape.into_iter().chain([c])
            })
            .collect(),
    }
}

#[derive(Serialize)]
#[serde(rename = "PathMatch")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct PathMatchShape<'a> {
    /// Default PathPrefix.
    r#type: Option<PathMatchType>,
    /// Default `/`.
    value: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename = "ValueMatch")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct ValueMatchShape<'a> {
    /// Default Exact.
    r#type: Option<TextMatchType>,
    /// The header or parameter.
    name: &'a str,
    /// What it must hold.
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename = "GRPCMethodMatch")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
struct GrpcMethodMatchShape<'a> {
    /// Default Exact.
    r#type: Option<TextMatchType>,
    /// `package.Service`.
    service: Option<&'a str>,
    /// The method's own name.
    method: Option<&'a str>,
}

impl Serialize for PathMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, value) = match self {
            Self::Exact(path) => (PathMatchType::Exact, path.as_str()),
            Self::PathPrefix(path) => (PathMatchType::PathPrefix, path.as_str()),
            Self::RegularExpression(pattern) => {
                (PathMatchType::RegularExpression, pattern.as_str())
            }
        };
        PathMatchShape {
            r#type: Some(kind),
            value: Some(value),
        }
        .serialize(serializer)
    }
}

impl Serialize for HeaderMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, value) = self.value.parts();
        ValueMatchShape {
            r#type: Some(kind),
            name: self.name.as_str(),
            value,
        }
        .serialize(serializer)
    }
}

impl Serialize for QueryMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, value) = self.value.parts();
        ValueMatchShape {
            r#type: Some(kind),
            name: &self.name,
            value,
        }
        .serialize(serializer)
    }
}

impl Serialize for GrpcMethodMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (service, method) = (
            self.service.as_ref().map(TextMatch::parts),
            self.method.as_ref().map(TextMatch::parts),
        );
        GrpcMethodMatchShape {
            r#type: service.or(method).map(|(kind, _)| kind),
            service: service.map(|(_, text)| text),
            method: method.map(|(_, text)| text),
        }
        .serialize(serializer)
    }
}

/// The schema of a type is that of its shape on paper.
macro_rules! schema_as {
    ($type:ty, $shape:ty) => {
        #[cfg(test)]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$shape as schemars::JsonSchema>::schema_name()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$shape as schemars::JsonSchema>::json_schema(generator)
            }
        }
    };
}
pub(super) use schema_as;

schema_as!(PathMatch, PathMatchShape<'_>);
schema_as!(HeaderMatch, ValueMatchShape<'_>);
schema_as!(QueryMatch, ValueMatchShape<'_>);
schema_as!(GrpcMethodMatch, GrpcMethodMatchShape<'_>);
