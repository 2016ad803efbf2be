//! `ReferenceGrant` (Gateway API v1): whose references into this namespace are allowed. Shape and meaning are
//! upstream's.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, ServiceName};

/// Objects of other namespaces may refer to objects of this one: any of `from` to any of `to`. Without it, a route's
/// backend in another namespace gets its share of requests answered with 500, and a Gateway does not show a certificate of
/// another namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ReferenceGrantSpec {
    /// Who may refer; 1 to 16.
    pub from: Vec<GrantFrom>,
    /// To what, in the grant's own namespace; 1 to 16.
    pub to: Vec<GrantTo>,
}

/// Objects of one kind in one namespace. Kinds that Usher does not know are for others to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GrantFrom {
    /// Of the kind: `gateway.networking.k8s.io` for routes.
    pub group: String,
    /// `HTTPRoute`, `Gateway`, …
    pub kind: String,
    /// Theirs.
    pub namespace: Name,
}

/// Objects of one kind, or one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct GrantTo {
    /// Of the kind: empty for Services.
    pub group: String,
    /// `Service`, or `Secret` for certificates of a Gateway.
    pub kind: String,
    /// Default: all of them.
    pub name: Option<Name>,
}

/// What references of ours lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// Backends, mirrors, fallbacks.
    Service,
    /// Certificates.
    Secret,
}

impl Granted {
    const fn word(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Secret => "Secret",
        }
    }
}

/// What somebody would have to write so that an object of `kind` in `own` may refer to `to`.
pub fn grant_for(kind: super::Kind, own: &Name, (granted, to): (Granted, &ServiceName)) -> String {
    let (group, _) = kind.api_version().split_once('/').unwrap_or(("", ""));
    format!(
        "a ReferenceGrant in the namespace `{}` with `from: [{{group: {group}, kind: {kind}, namespace: {own}}}]` and `to: [{{group: \"\", kind: {}, name: {}}}]`",
        to.namespace,
        granted.word(),
        to.name
    )
}

impl ReferenceGrantSpec {
    /// Whether an object of `kind` in `namespace` may refer to this object of the grant's own namespace.
    pub fn allows(
        &self,
        kind: super::Kind,
        namespace: &Name,
        (granted, name): (Granted, &Name),
    ) -> bool {
        let (group, _) = kind.api_version().split_once('/').unwrap_or(("", ""));
        let word = super::Choice::word(kind);
        let from = |from: &GrantFrom| {
            from.group == group && from.kind == word && from.namespace == *namespace
        };
        let to = |to: &GrantTo| {
            to.group.is_empty()
                && to.kind == granted.word()
                && to.name.as_ref().is_none_or(|only| only == name)
        };
        self.from.iter().any(from) && self.to.iter().any(to)
    }
}
