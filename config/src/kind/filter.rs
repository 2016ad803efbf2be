//! Filters of routes (Gateway API v1): what is changed on the way, answered at once, or copied elsewhere.
//!
//! Each filter knows by its type what it holds. Gateway API writes that as `type` beside one field of its name;
//! `written` is that spelling. Filters of a rule are applied in one order,
//! whatever theirs in the list: CORS, redirect, header changes and rewrite, mirror. Those of a `backendRef` come after
//! the rule's, and only for its share. `ExtensionRef` is refused: what it would extend is what policies are for.

mod written;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{HeaderText, Hostname, Name, OriginPattern, Percent, Port, ServiceName};

use super::choice::choice;
use super::{CoreGroup, ParentKind};

choice! {
    /// What a filter of an HTTPRoute does.
    pub enum HttpFilterType {
        /// Changes the request's headers.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Changes the response's headers.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Sends a copy elsewhere.
        RequestMirror = "RequestMirror",
        /// Answers that it is elsewhere.
        RequestRedirect = "RequestRedirect",
        /// Changes host and path.
        UrlRewrite = "URLRewrite",
        /// Lets other origins' pages call.
        Cors = "CORS",
    }
}

choice! {
    /// What a filter of a GRPCRoute does.
    pub enum GrpcFilterType {
        /// Changes the call's metadata.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Changes the initial metadata of the answer.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Sends a copy elsewhere.
        RequestMirror = "RequestMirror",
    }
}

/// A filter of an HTTPRoute. Each type once in a list, but for mirrors; a redirect never beside a rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFilter {
    /// Before it is forwarded.
    RequestHeaderModifier(HeaderModifier),
    /// Before the caller gets it; answers of this mesh's own to failures are left alone.
    ResponseHeaderModifier(HeaderModifier),
    /// See there.
    RequestMirror(RequestMirror),
    /// See there.
    RequestRedirect(RequestRedirect),
    /// See there.
    UrlRewrite(UrlRewrite),
    /// See there.
    Cors(Cors),
}

/// A filter of a GRPCRoute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcFilter {
    /// Before it is forwarded.
    RequestHeaderModifier(HeaderModifier),
    /// Before the caller gets it; trailers are left alone.
    ResponseHeaderModifier(HeaderModifier),
    /// See there.
    RequestMirror(RequestMirror),
}

/// Changes to headers: first `remove`, then `set`, then `add`. Names that only the mesh may write, or that belong to
/// one connection, are refused ([`reserved_header`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HeaderModifier {
    /// Instead of what is there. At most 16.
    #[serde(default)]
    pub set: Vec<ModifiedHeader>,
    /// Beside what is there. At most 16.
    #[serde(default)]
    pub add: Vec<ModifiedHeader>,
    /// Any case. At most 16.
    #[serde(default, serialize_with = "written::write_names")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub remove: Vec<http::HeaderName>,
}

/// A header as a modifier leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ModifiedHeader {
    /// Any case.
    #[serde(serialize_with = "written::write_name")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: http::HeaderName,
    /// 1 to 4096 printable ASCII characters.
    pub value: HeaderText,
}

/// A copy of the request, sent to one endpoint of another service. Its answer is dropped, and nothing about it ever
/// holds up or fails the request itself: the copy's body is what has passed already, and a mirror that falls more
/// than 64 KiB behind, or comes while too many are under way, is given up (`usher_mirrored_requests_total`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RequestMirror {
    /// Who gets the copies.
    pub backend_ref: BackendObject,
    /// Share of requests that is copied. Default 100. Not beside `fraction`.
    pub percent: Option<Percent>,
    /// The same, finer.
    pub fraction: Option<Fraction>,
}

/// A share: `numerator` of `denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Fraction {
    /// At most `denominator`.
    pub numerator: u32,
    /// Default 100.
    pub denominator: Option<u32>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct BackendObject {
    /// Always the core group; may be left out.
    #[cfg_attr(test, schemars(with = "Option<CoreGroup>"))]
    pub group: CoreGroup,
    /// Always a Service; may be left out.
    #[cfg_attr(test, schemars(with = "Option<ParentKind>"))]
    pub kind: ParentKind,
    /// Default: the route's own. Another one needs a ReferenceGrant there.
    pub namespace: Option<Name>,
    /// The Service.
    pub name: Name,
    /// Which of its ports.
    pub port: Port,
}

impl BackendObject {
    /// The destination, for a route that lives in `namespace`.
    pub fn service(&self, namespace: &Name) -> ServiceName {
        super::reference::resolve(self.namespace.as_ref(), &self.name, namespace)
    }
}

choice! {
    /// What a caller is to speak.
    pub enum RedirectScheme {
        /// Port 80, if none is given.
        Http = "http",
        /// Port 443, if none is given.
        Https = "https",
    }
}

/// The answer that it is elsewhere; the request is not forwarded, so its rule has no backends. What is not given is as
/// in the request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RequestRedirect {
    /// With it the port is the scheme's own, unless one is given.
    pub scheme: Option<RedirectScheme>,
    /// No wildcard.
    pub hostname: Option<Hostname>,
    /// The query stays.
    pub path: Option<PathModifier>,
    /// Left out of `Location` where it is the scheme's own.
    pub port: Option<Port>,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status_code: Option<u16>,
}

/// Another host or path, for whoever gets the request. The service that is called stays, as do log and trace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct UrlRewrite {
    /// In `Host`, without a port. No wildcard.
    pub hostname: Option<Hostname>,
    /// The query stays.
    pub path: Option<PathModifier>,
}

choice! {
    /// How a path is changed.
    pub enum PathModifierType {
        /// All of it.
        ReplaceFullPath = "ReplaceFullPath",
        /// What the rule's one PathPrefix match matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

/// Another path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathModifier {
    /// This, instead of all of it.
    ReplaceFullPath(String),
    /// This, instead of the prefix: the rule has exactly one match, of type PathPrefix. Empty takes it away.
    ReplacePrefixMatch(String),
}

/// Cross-origin resource sharing (GEP-1767): pages of these origins may call. Preflights are answered at once. With
/// the filter the route speaks for the backend, whose own `Access-Control-*` answers are taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Cors {
    /// `*` alone, or `scheme://host[:port]`, its host `*` or beginning with `*.`. At most 64.
    #[serde(default)]
    pub allow_origins: Vec<OriginPattern>,
    /// With cookies and the like. Default false.
    pub allow_credentials: Option<bool>,
    /// `*` alone, or methods. GET, HEAD and POST are allowed anyway.
    #[serde(default)]
    pub allow_methods: Vec<String>,
    /// `*` alone, or header names. At most 64.
    #[serde(default)]
    pub allow_headers: Vec<String>,
    /// What pages may read of the response: `*` alone, or header names. At most 64.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// For how many seconds a preflight's answer may be kept. At least 1. Default 5, upstream's.
    pub max_age: Option<u32>,
}

impl From<GrpcFilter> for HttpFilter {
    fn from(filter: GrpcFilter) -> Self {
        match filter {
            GrpcFilter::RequestHeaderModifier(modifier) => Self::RequestHeaderModifier(modifier),
            GrpcFilter::ResponseHeaderModifier(modifier) => Self::ResponseHeaderModifier(modifier),
            GrpcFilter::RequestMirror(mirror) => Self::RequestMirror(mirror),
        }
    }
}

/// Why no modifier may touch this header, if none may. `name` is in lower case.
pub fn reserved_header(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("URLRewrite changes the host"),
        "content-length" => Some("the body's length is what it is"),
        "x-forwarded-client-cert" => Some("only the mesh says who called"),
        "traceparent" | "tracestate" | "x-request-id" => Some("it names the request in all logs"),
        "grpc-timeout" => Some("deadlines are `timeouts` and policy"),
        "connection"
        | "te"
        | "transfer-encoding"
        | "trailer"
        | "upgrade"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "expect"
        | "keep-alive"
        | "proxy-connection"
        | "http2-settings" => Some("it belongs to one connection"),
        _ if name.starts_with("x-usher-") => Some("only the mesh writes it"),
        _ => None,
    }
}

impl HttpFilter {
    /// Whom it copies requests to, if it is a mirror.
    pub fn mirror(&self) -> Option<&BackendObject> {
        if let Self::RequestMirror(mirror) = self {
            Some(&mirror.backend_ref)
        } else {
            None
        }
    }

    /// The word for it.
    pub fn kind(&self) -> HttpFilterType {
        match self {
            Self::RequestHeaderModifier(_) => HttpFilterType::RequestHeaderModifier,
            Self::ResponseHeaderModifier(_) => HttpFilterType::ResponseHeaderModifier,
            Self::RequestMirror(_) => HttpFilterType::RequestMirror,
            Self::RequestRedirect(_) => HttpFilterType::RequestRedirect,
            Self::UrlRewrite(_) => HttpFilterType::UrlRewrite,
            Self::Cors(_) => HttpFilterType::Cors,
        }
    }
}

impl GrpcFilter {
    /// Whom it copies requests to, if it is a mirror.
    pub fn mirror(&self) -> Option<&BackendObject> {
        if let Self::RequestMirror(mirror) = self {
            Some(&mirror.backend_ref)
        } else {
            None
        }
    }

    /// The word for it.
    pub fn kind(&self) -> GrpcFilterType {
        match self {
            Self::RequestHeaderModifier(_) => GrpcFilterType::RequestHeaderModifier,
            Self::ResponseHeaderModifier(_) => GrpcFilterType::ResponseHeaderModifier,
            Self::RequestMirror(_) => GrpcFilterType::RequestMirror,
        }
    }
}
