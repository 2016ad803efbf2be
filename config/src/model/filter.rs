//! What is done to a route's requests and responses beside sending them on: filters, as data.
//!
//! Each list of filters that people wrote is one [`Filters`], so their order is fixed: CORS, redirect, header changes,
//! rewrite, mirrors. Texts are header values and paths already, so that applying them cannot fail.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::value::{Hostname, OriginPattern, Port};

use super::ServiceTarget;

/// Those of one rule, or of one backend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filters {
    /// Before the request is forwarded.
    pub request: HeaderEdits,
    /// Before the caller gets the response.
    pub response: HeaderEdits,
    /// Answered instead of forwarded.
    pub redirect: Option<Redirect>,
    /// Another host or path.
    pub rewrite: Option<Rewrite>,
    /// Who gets copies.
    pub mirrors: Vec<Mirror>,
    /// Which pages may call.
    pub cors: Option<Cors>,
}

/// Changes to headers, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Taken away.
    pub remove: Vec<HeaderName>,
    /// Instead of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// How a path is changed. Both texts are normal paths, so the result is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEdit {
    /// All of it becomes this.
    Full(String),
    /// The elements of `matched`, with which each path of the route begins, become `replacement`, which may be empty.
    Prefix {
        /// As the route matches it.
        matched: String,
        /// Instead.
        replacement: String,
    },
}

/// "It is elsewhere." What is not given is as in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub https: Option<bool>,
    /// No wildcard.
    pub hostname: Option<Hostname>,
    /// Left out of `Location` where it is the scheme's own.
    pub port: Option<Port>,
    /// The query stays.
    pub path: Option<PathEdit>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// What whoever gets the request sees instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// No wildcard.
    pub hostname: Option<Hostname>,
    /// The query stays.
    pub path: Option<PathEdit>,
}

/// Copies of a share of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets them.
    pub target: ServiceTarget,
    /// `numerator` of `denominator` requests, which is at least 1.
    pub numerator: u32,
    /// See there.
    pub denominator: u32,
}

/// Cross-origin resource sharing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may call.
    pub allow_origins: Vec<OriginPattern>,
    /// With cookies and the like.
    pub allow_credentials: bool,
    /// By which methods.
    pub allow_methods: Listed,
    /// With which headers.
    pub allow_headers: Listed,
    /// What pages may read of the response.
    pub expose_headers: Listed,
    /// How long a preflight's answer may be kept; whole seconds.
    pub max_age: Duration,
}

/// Names in a header of CORS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The header is left out.
    Nothing,
    /// `*`
    Any,
    /// Joined by commas.
    These(HeaderValue),
}
