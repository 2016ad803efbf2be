//! `AuthenticationPolicy`: whose tokens are believed, and whether a request needs one.

use http::HeaderName;
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::value::{Jwks, JwksUri, Timespan};

use super::TargetRef;
use super::choice::choice;

/// Tokens (JWT, RFC 7519) of end users, verified where requests arrive: by the called service's own sidecars, or by a
/// gateway. A bad one is answered with 401 (gRPC: UNAUTHENTICATED) before access rules are asked. Opaque TCP carries no token, so
/// a service that requires one takes none; what comes through a Gateway's TLS and TCP listeners is that service's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AuthenticationPolicySpec {
    /// What it is attached to (Mesh, Namespace, Service, Gateway, HTTPRoute or GRPCRoute, or a rule of one); at least one.
    /// A route's holds at the gateways that the route hangs on.
    pub target_refs: Vec<TargetRef>,
    /// Whether a request without a token is refused; one with a bad token always is. Default Required. Only tightens what
    /// wider policies say, unless the Mesh allows loosening.
    pub mode: Option<AuthenticationMode>,
    /// Whose tokens are believed, 1–8: the narrowest policy's, if the wider one believes the same issuers with the same
    /// `jwks`, or the Mesh allows loosening; else the wider one's.
    pub jwt: Vec<JwtProvider>,
}

choice! {
    /// Whether a request needs a token.
    pub enum AuthenticationMode {
        /// Without one it is refused.
        Required = "Required",
        /// Without one it passes, and has no claims.
        Optional = "Optional",
    }
}

/// Somebody who signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct JwtProvider {
    /// What its tokens have as `iss`, character by character.
    pub issuer: String,
    /// What they have as `aud`: one of these, at least one. No default: a token for another application of the same issuer
    /// is no token for this one.
    pub audiences: Vec<String>,
    /// Its public keys.
    pub jwks: JwksSource,
    /// What they may be signed with. Default RS256, ES256 and EdDSA. Never `none`, never HMAC.
    pub algorithms: Option<Vec<TokenAlgorithm>>,
    /// Where in a request they are. Default: where the wider policy that believes this issuer has them, else the header
    /// `Authorization`, after `Bearer` (to say that below one that says otherwise: `header: Authorization`). Tokens in
    /// places that only other policies of the same request name are taken out, whoever signed them.
    #[serde(default)]
    pub from: TokenFrom,
    /// Whether the application gets the token too. Default Strip: what goes nowhere is not stolen there.
    pub forward: Option<TokenForward>,
    /// Claims that are written into headers, at most 16. Such a header is taken from every request first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims_to_headers: Vec<ClaimToHeader>,
}

/// Exactly one of `inline` and `uri`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct JwksSource {
    /// The set itself, as JSON text.
    #[serde(serialize_with = "write_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub inline: Option<Jwks>,
    /// Where the control plane fetches it, and tells sidecars what it found: they need no way out for it. The set that was
    /// fetched last holds until there is another. With `http://` whoever is on the way decides who is believed.
    #[serde(serialize_with = "write_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub uri: Option<JwksUri>,
    /// How often, 1 s – 24 h. Default 1 min: a new key has to be in the set for so long before
    /// it signs, because an unknown key makes nobody look earlier.
    pub refresh_interval: Option<Timespan>,
}

impl JwksSource {
    /// Of one that names none.
    pub const DEFAULT_REFRESH_INTERVAL: Timespan = Timespan::seconds(60);
}

choice! {
    /// What tokens may be signed with.
    pub enum TokenAlgorithm {
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        Rs256 = "RS256",
        /// The same with SHA-384.
        Rs384 = "RS384",
        /// The same with SHA-512.
        Rs512 = "RS512",
        /// RSASSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// The same with SHA-384.
        Ps384 = "PS384",
        /// The same with SHA-512.
        Ps512 = "PS512",
        /// ECDSA with P-256 and SHA-256.
        Es256 = "ES256",
        /// ECDSA with P-384 and SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

/// At most one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct TokenFrom {
    /// This header, whose value may begin with `Bearer`.
    #[serde(serialize_with = "write_header")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub header: Option<HeaderName>,
    /// This cookie.
    pub cookie: Option<String>,
}

choice! {
    /// What becomes of the token.
    pub enum TokenForward {
        /// It ends here.
        Strip = "Strip",
        /// The application gets it.
        Keep = "Keep",
    }
}

/// A claim, and the header that has its value. Texts as they are, anything else as JSON; what no header can hold is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ClaimToHeader {
    /// At the top of the token.
    pub claim: String,
    /// No header that HTTP, or the mesh itself, needs.
    #[serde(serialize_with = "write_name")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub header: HeaderName,
}

fn write_text<T: std::fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn write_header<S: Serializer>(
    name: &Option<HeaderName>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    write_text(name, serializer)
}

fn write_name<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}
