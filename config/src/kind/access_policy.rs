//! `AccessPolicy`: who may do what at a workload, enforced by its own sidecar.

use std::{fmt, str::FromStr};

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::value::{InvalidValue, Name, Port, SpiffeId, path};

use super::choice::choice;
use super::{HttpMethod, Mtls, TargetRef};

/// Who may do what. A change holds for the next request, on open connections, too. A TCP connection, an upgraded one
/// (WebSocket) or an answer under way was decided about when it began, and no change cuts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AccessPolicySpec {
    /// What it is attached to (Mesh, Namespace or Service); at least one.
    pub target_refs: Vec<TargetRef>,
    /// Whether plaintext is let in. Only tightens what wider policies say, unless the Mesh allows loosening.
    #[serde(default)]
    pub mtls: Mtls,
    /// What happens to requests that no rule takes. Default Deny as soon as a policy exists: a forgotten caller
    /// is an error in a log, a forgotten intruder is not.
    pub default_action: Option<DefaultAction>,
    /// Logs and counts what would be refused, refuses nothing. Default false.
    pub dry_run: Option<bool>,
    /// Any of them allows.
    #[serde(default)]
    pub rules: Vec<AccessRule>,
}

choice! {
    /// What happens to requests that no rule takes.
    pub enum DefaultAction {
        /// Refused with 403.
        Deny = "Deny",
        /// Let through.
        Allow = "Allow",
    }
}

/// `from` × `to`: in each list any entry suffices, an empty list asks nothing, all lists must agree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AccessRule {
    /// Who. Default: everybody that `mtls` lets in.
    #[serde(default)]
    pub from: AccessFrom,
    /// What. Default: everything.
    #[serde(default)]
    pub to: AccessTo,
}

/// Who.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AccessFrom {
    /// `namespace/name`, or `name` in the policy's own namespace; of this mesh's trust domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<ServiceAccount>,
    /// Everything of this mesh that runs there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Name>,
    /// Whole SPIFFE IDs, of any trust domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<SpiffeId>,
    /// What a verified token says of the end user: all of these, unlike in other lists. Only claims of a token count that an
    /// AuthenticationPolicy for this service, its namespace or the mesh has verified here; a header with a claim is none. A
    /// rule with one never allows a request without a token, nor TCP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<AccessClaim>,
}

/// A claim, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AccessClaim {
    /// At the top of the token: `groups`, `sub`, `iss`.
    pub claim: String,
    /// Any of these suffices, character by character: as a text, as one entry of a list of texts, or as one word of `scope`;
    /// of numbers and truth values as JSON writes them.
    pub values: Vec<String>,
}

/// What.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AccessTo {
    /// A rule with one never allows TCP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<HttpMethod>,
    /// `/v1/accounts` exactly, or `/v1/*` for `/v1` and everything below it (whole segments, as Gateway API's
    /// PathPrefix: not `/v1beta`). A rule with one never allows TCP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathRule>,
    /// The service's ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// A service account, its namespace always known: `parse` fills in the policy's own where none is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAccount {
    /// Where it lives.
    pub namespace: Name,
    /// Unique there.
    pub name: Name,
}

/// A path in a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// Byte for byte.
    Exact(String),
    /// The path and all below it, by whole segments; written with `/*` at the end, kept with the `/`.
    Prefix(String),
}

const WHOLE_SEGMENTS: &str = "a `*` only after a `/`: write `/admin/*` for `/admin` and all below it, or `/admin` for that path alone";

impl FromStr for PathRule {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (covered, rule): (_, fn(String) -> Self) = match text.strip_suffix('*') {
            // Read as a string prefix, a rule for `/admin*` would also let callers reach `/administrator`.
            Some(prefix) if prefix.len() > 1 && !prefix.ends_with(['/', '*']) => {
                return Err(InvalidValue::new(text, WHOLE_SEGMENTS));
            }
            Some(prefix) => (prefix, Self::Prefix),
            None => (text, Self::Exact),
        };
        let clean = !covered.contains('*');
        if clean && path::is_normal(covered) {
            Ok(rule(covered.to_owned()))
        } else {
            Err(InvalidValue::new(
                text,
                "an absolute path as sidecars see it (no `.`/`..`/empty segments, `;`, query or escaped slash; what is not ASCII is percent-encoded, in upper case), at its end at most one `/*`",
            ))
        }
    }
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Serialize for PathRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ServiceAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

super::matches::schema_as!(PathRule, String);
super::matches::schema_as!(ServiceAccount, String);
