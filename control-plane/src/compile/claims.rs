//! Headers that AuthenticationPolicies write claims into: nobody else may, wherever he comes in.
//!
//! They are the mesh's, not a policy's: what a gateway has written every service believes. So a name that means one
//! thing to one namespace and another to the next one lets each speak for the users of the other, which is reported.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;
use usher_config::{
    kind::{AuthenticationPolicy, HeaderModifier, JwtProvider, ObjectKey},
    value::{SpiffeId, is_like},
};

use super::{
    Compiled, Finding, Reason,
    index::{Aged, Index},
};

/// Every header that some policy writes claims into.
pub(super) fn headers(policies: &[Aged<'_, AuthenticationPolicy>]) -> Vec<HeaderName> {
    let providers = policies.iter().flat_map(|policy| &policy.object.spec.jwt);
    let written = providers.flat_map(|provider| &provider.claims_to_headers);
    let names: BTreeSet<&str> = written.map(|one| one.header.as_str()).collect();
    let names = names.into_iter();
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Whose claims are believed by workloads that look at no token themselves: those of gateways, which take them from everybody
/// who comes from outside. Any other caller could write what he likes.
pub(super) fn trust_gateways(compiled: &mut Compiled) {
    let gateways = compiled.gateways.keys();
    let backing = gateways.filter_map(|name| compiled.backing.get(name));
    let mut identities: Vec<SpiffeId> = backing.flatten().map(|one| one.identity.clone()).collect();
    identities.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    identities.dedup();
    for inbound in compiled.inbound.values_mut() {
        if !inbound.claim_headers.is_empty() {
            inbound.gateways.clone_from(&identities);
        }
    }
}

/// A route's filter may not write them: a gateway would pass on as verified what a route's author has made up.
pub(super) fn unwritable(
    index: &Index<'_>,
    route: &ObjectKey,
    written: &HeaderModifier,
    findings: &mut Vec<Finding>,
) -> impl Fn(&HeaderName) -> bool + use<> {
    let claims = index.claim_headers.clone();
    let is_ours = move |name: &HeaderName| {
        let mut claims = claims.iter();
        claims.any(|claim| is_like(name.as_str(), claim.as_str()))
    };
    for header in written.set.iter().chain(&written.add) {
        if is_ours(&header.name) {
            findings.push(Finding {
                object: route.clone(),
                reason: Reason::NotEnforced,
                message: format!(
                    "its filter does not write the header {}: an AuthenticationPolicy writes verified claims into it, and nobody else may",
                    header.name
                ),
            });
        }
    }
    is_ours
}

/// Who writes a header first, and whose claims.
struct Writer<'a> {
    policy: &'a ObjectKey,
    provider: &'a JwtProvider,
}

/// Policies that write other issuers' claims into a header of another namespace's.
pub(super) fn report_shared(index: &Index<'_>, findings: &mut Vec<Finding>) {
    let mut writers: BTreeMap<String, Writer<'_>> = BTreeMap::new();
    // From old to young: who comes later is told.
    for policy in &index.authentication {
        for provider in &policy.object.spec.jwt {
            for written in &provider.claims_to_headers {
                // Servers may take both for one.
                let name = written.header.as_str().replace('_', "-");
                let first = writers.entry(name).or_insert(Writer {
                    policy: policy.key,
                    provider,
                });
                if first.policy.namespace != policy.key.namespace
                    && !is_same(first.provider, provider)
                {
                    findings.push(shared(policy.key, (&written.header, provider), first));
                }
            }
        }
    }
}

/// Whoever says where an issuer's keys are is the issuer.
pub(super) fn is_same(one: &JwtProvider, other: &JwtProvider) -> bool {
    let keys = |of: &JwtProvider| (of.jwks.uri.clone(), of.jwks.inline.clone());
    one.issuer == other.issuer && keys(one) == keys(other)
}

fn shared(
    policy: &ObjectKey,
    (header, provider): (&HeaderName, &JwtProvider),
    first: &Writer<'_>,
) -> Finding {
    Finding {
        object: policy.clone(),
        reason: Reason::SharedHeader,
        message: format!(
            "{header} has claims of {}, and by {} those of {}{}: services believe what any gateway writes there, whoever's user \
             it is; take another header, or believe the same issuer with the same jwks",
            provider.issuer,
            first.policy,
            first.provider.issuer,
            if first.provider.issuer == provider.issuer {
                " with other keys"
            } else {
                ""
            },
        ),
    }
}
