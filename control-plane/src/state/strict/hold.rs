//! Which changes wait because they would lock somebody out. Pure.
//!
//! Only those that are about the mode alone: what else is in an object (rules, the default action, what it is attached to) keeps
//! people out who are in, and nobody's call may hold that up. So a change of rules is in force at once, its mode with it.
//!
//! A service's mode is the word of the Mesh and of AccessPolicies for it, its namespace or the mesh. Those that changed, and
//! with whom it becomes `Strict`, stay as they are in force; all else flows. What decides now goes first, then what decided
//! before (it may be deleted, and the default is `Strict`), then whatever else has a word in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use usher_config::{
    kind::{AccessPolicySpec, DefaultAction, Kind, Object, ObjectKey},
    model::MtlsMode,
    value::ServiceName,
};

use crate::{
    compile::modes::{may_decide_mtls, mtls_modes},
    registry::World,
};

/// Objects, and the services that would become `Strict` by them.
pub(super) type Held = BTreeMap<ObjectKey, BTreeSet<ServiceName>>;

/// Services of these that are `Permissive` before and `Strict` after it.
pub(super) fn locked(
    before: &World,
    next: &World,
    concerned: &BTreeSet<ServiceName>,
) -> BTreeSet<ServiceName> {
    let was = mtls_modes(before, concerned);
    let is = mtls_modes(next, concerned);
    let becomes_strict = |name: &&ServiceName| {
        let [was, is] = [&was, &is].map(|modes| modes.get(*name).map(|(mode, _)| *mode));
        (was, is) == (Some(MtlsMode::Permissive), Some(MtlsMode::Strict))
    };
    concerned.iter().filter(becomes_strict).cloned().collect()
}

/// Leaves objects of `next` as they are `before`, so that none of these services becomes `Strict`, and names them.
pub(super) fn hold(
    before: &World,
    next: &mut World,
    concerned: &BTreeSet<ServiceName>,
    now: SystemTime,
) -> Held {
    let mut held = Held::new();
    // Each turn leaves at least one more as it was.
    loop {
        let locked = locked(before, next, concerned);
        let (was, is) = (mtls_modes(before, &locked), mtls_modes(next, &locked));
        let mut found = Held::new();
        for service in locked {
            let by = [&is, &was].map(|modes| modes.get(&service).and_then(|(_, by)| by.clone()));
            if let Some(key) = decider(before, next, by, &service) {
                found.entry(key).or_default().insert(service);
            }
        }
        if found.is_empty() {
            break;
        }
        for (key, services) in found {
            next.keep(before, &key);
            held.entry(key).or_default().extend(services);
        }
    }
    if held.keys().any(|key| key.kind == Kind::Mesh) {
        next.address_as(before, now);
    }
    held
}

/// Whose change makes a service `Strict`.
fn decider(
    before: &World,
    next: &World,
    by: [Option<ObjectKey>; 2],
    service: &ServiceName,
) -> Option<ObjectKey> {
    let differs = |key: &ObjectKey| {
        let of = |world: &World| {
            let found = world.objects.get(key);
            found.map(|one| (one.text.clone(), one.accepted_at))
        };
        of(before) != of(next)
    };
    let has_a_word = |key: &ObjectKey| {
        let versions = [before, next].map(|world| world.objects.get(key));
        let mut versions = versions.into_iter().flatten();
        versions.any(|one| may_decide_mtls(&one.object, service))
    };
    let all = before.objects.keys().chain(next.objects.keys());
    let others = all.filter(|key| matches!(key.kind, Kind::Mesh | Kind::AccessPolicy));
    let others = others.filter(|key| has_a_word(key)).cloned();
    let decides = by.into_iter().flatten().chain(others).find(differs)?;
    // What is mended lets in again whom it was meant for; the callers in plaintext were out with all others.
    let is_mended = before.denied.contains_key(&decides);
    let versions = [before, next].map(|world| world.objects.get(&decides).map(|one| &*one.object));
    (!is_mended && is_about_the_mode_alone(versions)).then_some(decides)
}

/// Whether what an object was and what it is (`None`: it is not there) differ in `mtls.mode` and in nothing else. A policy
/// that allows everything and one that is not there are the same but for it.
fn is_about_the_mode_alone(versions: [Option<&Object>; 2]) -> bool {
    match versions {
        [Some(Object::Mesh(was)), Some(Object::Mesh(is))] => {
            let mut spec = was.spec.clone();
            spec.mtls.clone_from(&is.spec.mtls);
            spec == is.spec
        }
        [
            Some(Object::AccessPolicy(was)),
            Some(Object::AccessPolicy(is)),
        ] => {
            let mut spec = was.spec.clone();
            spec.mtls.clone_from(&is.spec.mtls);
            spec == is.spec
        }
        [Some(Object::AccessPolicy(one)), None] | [None, Some(Object::AccessPolicy(one))] => {
            let AccessPolicySpec {
                default_action,
                rules,
                ..
            } = &one.spec;
            *default_action == Some(DefaultAction::Allow) && rules.is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
