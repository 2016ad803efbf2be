//! Whose tokens are believed, resolved.

use std::sync::Arc;

use http::HeaderName;

use crate::value::{JwtAlgorithm, VerificationKey};

/// What becomes of requests with and without tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Authentication {
    /// `namespace/name` of the policy that says whose tokens are believed.
    pub name: Arc<str>,
    /// Whether a request without one is refused.
    pub required: bool,
    /// By issuer.
    pub providers: Vec<JwtProvider>,
    /// Where other policies that hold here look for tokens: what is there nobody verifies, and no application gets.
    pub stripped: Vec<TokenFrom>,
    /// The object is broken and no earlier version was accepted: every request is refused.
    pub invalid: bool,
}

/// Somebody who signs tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtProvider {
    /// `iss`.
    pub issuer: Arc<str>,
    /// `aud`: one of them.
    pub audiences: Vec<String>,
    /// Empty as long as they could not be fetched: no token is believed.
    pub keys: Vec<VerificationKey>,
    /// With which they may be used.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Where tokens are.
    pub from: TokenFrom,
    /// Whether the application gets them.
    pub keep: bool,
    /// Claims that become headers.
    pub headers: Vec<(Arc<str>, HeaderName)>,
}

/// Where tokens are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// `Authorization: Bearer`.
    Bearer,
    /// This header, whose value may begin with `Bearer`.
    Header(HeaderName),
    /// This cookie.
    Cookie(Arc<str>),
}
