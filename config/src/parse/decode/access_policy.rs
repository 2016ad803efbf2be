//! `AccessPolicy`.

use crate::{
    kind::{
        AccessClaim, AccessFrom, AccessPolicySpec, AccessRule, AccessTo, ServiceAccount, TargetKind,
    },
    parse::fields::{Fields, Once},
    parse::place::Place,
    value::{Name, ServiceName},
};

use super::{authentication_policy::plain, mesh, rate_limit_policy::claim_name, reference};

pub(super) const TARGETS: [TargetKind; 3] =
    [TargetKind::Mesh, TargetKind::Namespace, TargetKind::Service];

pub(super) fn policy(place: &Place<'_>, namespace: Option<&Name>) -> Option<AccessPolicySpec> {
    let mut fields = place.fields()?;
    let spec = AccessPolicySpec {
        target_refs: reference::targets(&mut fields, &TARGETS, namespace),
        mtls: fields.group("mtls", |place| mesh::mtls(&place)),
        default_action: fields.optional("defaultAction", |place| place.choice()),
        dry_run: fields.optional("dryRun", |place| place.boolean()),
        rules: fields.list("rules", 0..=256, |place| rule(&place, namespace)),
    };
    fields.finish();
    Some(spec)
}

fn rule(place: &Place<'_>, namespace: Option<&Name>) -> Option<AccessRule> {
    let mut fields = place.fields()?;
    let from = fields.group("from", |place| from(&place, namespace));
    let to = fields.group("to", to);
    fields.finish();
    Some(AccessRule { from, to })
}

// In a rule an absent list asks nothing, so a written but empty one would silently mean "everybody": refused.

fn from(place: &Place<'_>, namespace: Option<&Name>) -> Option<AccessFrom> {
    let mut fields = place.fields()?;
    let account = |place: Place<'_>| service_account(&place, namespace);
    let from = AccessFrom {
        service_accounts: written(&mut fields, "serviceAccounts", account),
        namespaces: written(&mut fields, "namespaces", |place| place.parse()),
        principals: written(&mut fields, "principals", |place| place.parse()),
        claims: claims(&mut fields),
    };
    fields.finish();
    Some(from)
}

/// Bounded like what verified tokens are written into: each is looked at for each request that has one.
fn claims(fields: &mut Fields<'_>) -> Vec<AccessClaim> {
    if fields.at("claims").is_none() {
        return Vec::new();
    }
    let mut once = Once::default();
    fields.list("claims", 1..=16, |place| {
        let mut fields = place.fields()?;
        let claim = fields.required("claim", |place| claim_name(&place));
        let values = fields.list("values", 1..=64, |place| plain(&place));
        fields.finish();
        let claim = claim?;
        // Twice is both, which hardly anybody means who writes it.
        once.check(&place, claim.as_str());
        Some(AccessClaim { claim, values })
    })
}

fn to(place: Place<'_>) -> Option<AccessTo> {
    let mut fields = place.fields()?;
    let to = AccessTo {
        methods: written(&mut fields, "methods", |place| place.choice()),
        paths: written(&mut fields, "paths", |place| place.parse()),
        ports: written(&mut fields, "ports", |place| place.number()),
    };
    fields.finish();
    Some(to)
}

/// A list that may be left out but not be empty.
pub(super) fn written<'a, T>(
    fields: &mut Fields<'a>,
    name: &'static str,
    decode: impl FnMut(Place<'a>) -> Option<T>,
) -> Vec<T> {
    match fields.at(name) {
        Some(_) => fields.list(name, 1..=256, decode),
        None => Vec::new(),
    }
}

/// `namespace/name`, or `name` in the policy's own namespace.
fn service_account(place: &Place<'_>, namespace: Option<&Name>) -> Option<ServiceAccount> {
    const ALLOWED: &str = "`namespace/name`, or `name` in the policy's own namespace";
    place.read(
        |text| match text.contains('/') {
            true => {
                let ServiceName { namespace, name } = text.parse().ok()?;
                Some(ServiceAccount { namespace, name })
            }
            false => {
                let name = text.parse().ok()?;
                // A policy whose own namespace is broken is refused for that; any name does here.
                let namespace = namespace.unwrap_or(&name).clone();
                Some(ServiceAccount { namespace, name })
            }
        },
        ALLOWED,
    )
}
