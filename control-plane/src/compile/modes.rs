//! Which services would refuse callers in plaintext that they let in: for who has to know it before anything is compiled.
//!
//! Only a mode may wait for callers, and only while it opens nothing that was closed: somebody without an identity may then
//! do what he could do before, and nothing else. Where that cannot be said (other ports, rules that let him do more, other tokens,
//! another workload) all is in force at once, and the mode with it: nobody's call may hold that up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use http::HeaderName;
use usher_config::{
    kind::{Kind, ObjectKey},
    model::{AccessPolicy, AccessRule, Authentication, InboundPolicy, MtlsMode},
    value::{ServiceName, SpiffeId},
};

use crate::registry::World;

use super::{Backing, Compiled, access, index::Index, services, targets::Targets};

/// What becomes of those who call a service in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOut {
    /// Their mode alone changes: it can wait.
    Waits,
    /// More changes with it, so that they are refused from one moment to the next.
    AtOnce,
}

/// What runs.
#[derive(Debug, Clone, Copy)]
pub struct Running<'r> {
    /// As compiled.
    pub inbound: &'r BTreeMap<ServiceName, InboundPolicy>,
    /// As compiled: who the services are.
    pub backing: &'r BTreeMap<ServiceName, Vec<Backing>>,
}

impl<'r> From<&'r Compiled> for Running<'r> {
    fn from(compiled: &'r Compiled) -> Self {
        Self {
            inbound: &compiled.inbound,
            backing: &compiled.backing,
        }
    }
}

/// Services of these that take plaintext as they run, and are `Strict` as `next` has them written.
pub fn lock_outs<'s>(
    running: Running<'_>,
    next: &World,
    among: impl IntoIterator<Item = &'s ServiceName>,
) -> BTreeMap<ServiceName, LockOut> {
    let mut ignored = Vec::new();
    let index = Index::new(next, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let of = |name: &ServiceName| {
        let was = running.inbound.get(name)?;
        let service = index.services.get(name)?;
        let is_strict = access::mode(&index, &targets, name).0 == MtlsMode::Strict;
        if was.mtls == MtlsMode::Strict || !is_strict {
            return None;
        }
        let mut ignored = Vec::new();
        let is = services::inbound(&index, &targets, service, &mut ignored);
        let who = |backing: &[Backing]| -> BTreeSet<SpiffeId> {
            backing.iter().map(|one| one.identity.clone()).collect()
        };
        let known = running.backing.get(name).map_or(&[][..], Vec::as_slice);
        let is_the_same = who(&services::backing(&index, service)).is_subset(&who(known));
        Some(match is_the_same && is_no_wider(was, &is) {
            true => LockOut::Waits,
            false => LockOut::AtOnce,
        })
    };
    let all = among.into_iter();
    all.filter_map(|name| Some((name.clone(), of(name)?)))
        .collect()
}

/// Services of these that are written `Strict`.
pub fn written_strict(world: &World, services: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let is_strict = |name: &&ServiceName| {
        index.services.contains_key(*name)
            && access::mode(&index, &targets, name).0 == MtlsMode::Strict
    };
    services.iter().filter(is_strict).cloned().collect()
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

/// Whether somebody without an identity may do nothing by `is`, were it `Permissive`, that he may not do by `was`. A field that is
/// added to a policy has to be thought of here.
fn is_no_wider(was: &InboundPolicy, is: &InboundPolicy) -> bool {
    let InboundPolicy {
        ports,
        authentication,
        claim_headers,
        access,
        path_reading,
        // Who it is, and what this is about.
        service: _,
        mtls: _,
        // Nobody is let in by these who is kept out without them: gateways are known by their identities, limits count
        // those who are let in.
        gateways: _,
        rate_limits: _,
        // What its own sidecar does besides.
        health_check: _,
        telemetry: _,
        idle: _,
        zone: _,
        outbound: _,
    } = is;
    // Who calls without saying which port means the first; an application that was told of once stands for all.
    let same_ports =
        ports.first() == was.ports.first() && ports.iter().all(|port| was.ports.contains(port));
    let demands = |of: &Option<Authentication>| {
        of.clone().map(|of| Authentication {
            name: Arc::from(""),
            ..of
        })
    };
    let is_stripped = |header: &HeaderName| claim_headers.contains(header);
    same_ports
        && demands(authentication) == demands(&was.authentication)
        && was.claim_headers.iter().all(is_stripped)
        && *path_reading == was.path_reading
        && narrows(&for_strangers(&was.access), &for_strangers(access))
}

/// Whether what passes all of `is` passes all of `was`: sure where each of the latter has one that has no other rules.
fn narrows(was: &[Vec<&AccessRule>], is: &[Vec<&AccessRule>]) -> bool {
    let is_within =
        |is: &Vec<&AccessRule>, was: &Vec<&AccessRule>| is.iter().all(|rule| was.contains(rule));
    was.iter().all(|was| is.iter().any(|is| is_within(is, was)))
}

#[cfg(test)]
mod tests;
