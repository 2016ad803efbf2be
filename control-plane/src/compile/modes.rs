//! Which services would refuse callers in plaintext that they let in: for who has to know it before anything is compiled.
//!
//! Only a mode may wait for callers, and only while it opens nothing that was closed: somebody without an identity may then
//! still do what he could do before, and nothing else. Where ports, rules for him or the demand for tokens change beside
//! it, they are in force at once, and the mode with them: nobody's call may hold that up.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    kind::{Kind, ObjectKey},
    model::{AccessPolicy, AccessRule, InboundPolicy, MtlsMode},
    value::ServiceName,
};

use crate::registry::World;

use super::{access, authentication, index::Index, services, targets::Targets};

/// What becomes of those who call a service in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOut {
    /// Their mode alone changes: it can wait.
    Waits,
    /// More changes with it, so that they are refused from one moment to the next.
    AtOnce,
}

/// Services of these that take plaintext as they run, and are `Strict` as `next` has them written. One whose rules then let
/// nobody in who has no identity is none: its mode makes no difference to them.
pub fn lock_outs<'s>(
    running: &BTreeMap<ServiceName, InboundPolicy>,
    next: &World,
    among: impl IntoIterator<Item = &'s ServiceName>,
) -> BTreeMap<ServiceName, LockOut> {
    let mut ignored = Vec::new();
    let index = Index::new(next, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let of = |name: &ServiceName| {
        let was = running
            .get(name)
            .filter(|one| one.mtls == MtlsMode::Permissive)?;
        let service = index.services.get(name)?;
        let mut ignored = Vec::new();
        if access::mode(&index, &targets, name).0 == MtlsMode::Permissive {
            return None;
        }
        let access = access::access(&index, &targets, name, &mut ignored).policies;
        let rules = for_strangers(&access);
        if rules.iter().any(Vec::is_empty) {
            return None;
        }
        let authentication = authentication::of_service((&index, &targets), name, &mut ignored);
        let has_port = |port| was.ports.iter().any(|(known, _)| *known == port);
        let is_no_wider = is_no_wider(&for_strangers(&was.access), &rules)
            && service.spec.ports.iter().all(|port| has_port(port.port))
            && authentication == was.authentication
            && services::path_reading(&index) == was.path_reading;
        Some(match is_no_wider {
            true => LockOut::Waits,
            false => LockOut::AtOnce,
        })
    };
    let all = among.into_iter();
    all.filter_map(|name| Some((name.clone(), of(name)?)))
        .collect()
}

/// Whose word it is that these services are `Strict`, the service itself where it is nobody's.
pub fn deciders(
    world: &World,
    services: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, ObjectKey> {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let decider = |name: &ServiceName| {
        let (_, by) = access::mode(&index, &targets, name);
        let own = || ObjectKey {
            kind: Kind::Service,
            namespace: name.namespace.clone(),
            name: name.name.clone(),
        };
        (name.clone(), by.unwrap_or_else(own))
    };
    services.iter().map(decider).collect()
}

/// Of each policy that is enforced and does not allow everything: the rules that do not ask who it is. One without such
/// rules lets nobody in who cannot say.
fn for_strangers(policies: &[AccessPolicy]) -> Vec<Vec<&AccessRule>> {
    let asks =
        |policy: &&AccessPolicy| !policy.dry_run && (policy.deny_by_default || policy.invalid);
    let asking = policies.iter().filter(asks);
    let asks_nobody = |rule: &&AccessRule| {
        rule.principals.is_empty() && rule.namespaces.is_empty() && rule.service_accounts.is_empty()
    };
    let rules = asking.map(|policy| match policy.invalid {
        true => Vec::new(),
        false => policy.rules.iter().filter(asks_nobody).collect(),
    });
    rules.collect()
}

/// Whether what passes all of `is` passes all of `was`: sure where each of the latter has one that has no other rules.
fn is_no_wider(was: &[Vec<&AccessRule>], is: &[Vec<&AccessRule>]) -> bool {
    let is_within =
        |is: &Vec<&AccessRule>, was: &Vec<&AccessRule>| is.iter().all(|rule| was.contains(rule));
    was.iter().all(|was| is.iter().any(|is| is_within(is, was)))
}

#[cfg(test)]
mod tests;
