//! Access: may this caller do this, by the workload's access policies and its mutual TLS mode.
//!
//! All policies must allow. A rule allows if each of its lists is empty or has a matching entry; in a policy
//! that denies by default something must allow. A broken policy that never had a good version denies
//! everything: an author who wanted protection gets it.

mod claims;
mod why;

use std::sync::Arc;

use crate::{
    model::{AccessPolicy, AccessRule, MtlsMode},
    value::{Port, SpiffeId},
};
use http::Method;
use smallvec::SmallVec;

pub use claims::Claims;
pub use why::{Lacking, Ruling, ruling};

/// Who wants to do what.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// From the verified certificate; `None`: plaintext.
    pub caller: Option<&'a SpiffeId>,
    /// The service's port.
    pub port: Port,
    /// `None`: an opaque stream, which no rule with methods or paths allows.
    pub http: Option<HttpAccess<'a>>,
}

/// The HTTP part.
#[derive(Debug, Clone, Copy)]
pub struct HttpAccess<'a> {
    /// As sent.
    pub method: &'a Method,
    /// Normalised, without the query.
    pub path: &'a str,
    /// Of its verified token; `None`: it has none.
    pub claims: Option<&'a Claims>,
}

/// What the policies say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// The first policy that refuses, named in the 403; `None`: allowed.
    pub denied_by: Option<&'p Arc<str>>,
    /// Dry-run policies that would have refused: logged and counted.
    pub dry_run: SmallVec<[&'p Arc<str>; 2]>,
}

/// Decides. Linear in rules; allocates only beyond two dry-run refusals.
pub fn decide<'p>(policies: &'p [AccessPolicy], access: &Access<'_>) -> Verdict<'p> {
    let mut verdict = Verdict {
        denied_by: None,
        dry_run: SmallVec::new(),
    };
    for policy in policies.iter().filter(|policy| !allows(policy, access)) {
        if policy.dry_run && !policy.invalid {
            verdict.dry_run.push(&policy.name);
        } else if verdict.denied_by.is_none() {
            verdict.denied_by = Some(&policy.name);
        }
    }
    verdict
}

/// Whether a connection may carry requests at all.
pub fn transport_allowed(mode: MtlsMode, caller: Option<&SpiffeId>) -> bool {
    match mode {
        MtlsMode::Strict => caller.is_some(),
        MtlsMode::Permissive => true,
    }
}

fn allows(policy: &AccessPolicy, access: &Access<'_>) -> bool {
    !policy.invalid
        && (!policy.deny_by_default || policy.rules.iter().any(|rule| takes(rule, access)))
}

fn takes(rule: &AccessRule, access: &Access<'_>) -> bool {
    takes_caller(rule, access.caller)
        && (rule.ports.is_empty() || rule.ports.contains(&access.port))
        && takes_http(rule, access.http)
}

fn takes_caller(rule: &AccessRule, caller: Option<&SpiffeId>) -> bool {
    let asks = [
        !rule.principals.is_empty(),
        !rule.namespaces.is_empty(),
        !rule.service_accounts.is_empty(),
    ];
    let Some(caller) = caller else {
        return asks == [false; 3];
    };
    let account = |(namespace, account): &(_, _)| {
        *namespace == caller.namespace && *account == caller.service_account
    };
    (rule.principals.is_empty() || rule.principals.contains(caller))
        && (rule.namespaces.is_empty() || rule.namespaces.contains(&caller.namespace))
        && (rule.service_accounts.is_empty() || rule.service_accounts.iter().any(account))
}

fn takes_http(rule: &AccessRule, http: Option<HttpAccess<'_>>) -> bool {
    let Some(http) = http else {
        return rule.methods.is_empty() && rule.paths.is_empty() && rule.claims.is_empty();
    };
    claims::hold(&rule.claims, http.claims)
        && (rule.methods.is_empty() || rule.methods.contains(http.method))
        && (rule.paths.is_empty() || rule.paths.iter().any(|path| path.covers(http.path)))
}

#[cfg(test)]
mod tests;
