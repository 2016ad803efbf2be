//! `ReferenceGrant` (Gateway API v1): whose references into this namespace are allowed. Shape and meaning are
//! upstream's.

use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, ServiceName};

/// Objects of other namespaces may refer to objects of this one: any of `from` to any of `to`. Without it, a route's
/// backend in another namespace gets its share of requests answered with 500.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ReferenceGrantSpec {
    /// Who may refer; 1 to 16.
    pub from: Vec<GrantFrom>,
    /// To what, in the grant's own namespace; 1 to 16.
    pub to: Vec<GrantTo>,
}

/// Objects of one kind in one namespace. Kinds that Usher does not know are for others to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GrantFrom {
    /// Of the kind: `gateway.networking.k8s.io` for routes.
    pub group: String,
    /// `HTTPRoute`, `GRPCRoute`, …
    pub kind: String,
    /// Theirs.
    pub namespace: Name,
}

/// Objects of one kind, or one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GrantTo {
    /// Of the kind: empty for Services.
    pub group: String,
    /// `Service`, …
    pub kind: String,
    /// Default: all of them.
    pub name: Option<Name>,
}

/// What somebody would have to write so that an object of `kind` in `own` may refer to `to`.
pub fn grant_for(kind: super::Kind, own: &Name, to: &ServiceName) -> String {
    let (group, _) = kind.api_version().split_once('/').unwrap_or(("", ""));
    format!(
        "a ReferenceGrant in the namespace `{}` with `from: [{{group: {group}, kind: {kind}, namespace: {own}}}]` and `to: [{{group: \"\", kind: Service, name: {}}}]`",
        to.namespace, to.name
    )
}

impl ReferenceGrantSpec {
    /// Whether an object of `kind` in `namespace` may refer to the Service `name` of the grant's own namespace.
    pub fn allows(&self, kind: super::Kind, namespace: &Name, name: &Name) -> bool {
        let (group, _) = kind.api_version().split_once('/').unwrap_or(("", ""));
        let word = super::Choice::word(kind);
        let from = |from: &GrantFrom| {
            from.group == group && from.kind == word && from.namespace == *namespace
        };
        let to = |to: &GrantTo| {
            to.group.is_empty()
                && to.kind == "Service"
                && to.name.as_ref().is_none_or(|granted| granted == name)
        };
        self.from.iter().any(from) && self.to.iter().any(to)
    }
}
