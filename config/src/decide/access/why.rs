//! Why policies say what they say: for people who ask, never on a request's way.

use super::{Access, takes_caller, takes_http};
use crate::model::{AccessPolicy, AccessRule};

/// What one policy says, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It never was valid: it denies everything.
    Invalid,
    /// By its rule of this number, from 0.
    AllowedBy(usize),
    /// It denies nothing.
    AllowedByDefault,
    /// No rule takes the request. For each rule, in order: the first of its lists that has no entry for it.
    Denied(Vec<Lacking>),
}

/// The list of a rule that has no entry for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// `from`: it is for other callers.
    Caller,
    /// `from.claims`; an opaque stream has none.
    Claims,
    /// `to.ports`
    Port,
    /// `to.methods`; an opaque stream has none.
    Method,
    /// `to.paths`; an opaque stream has none.
    Path,
}

/// What a policy says.
pub fn ruling(policy: &AccessPolicy, access: &Access<'_>) -> Ruling {
    if policy.invalid {
        return Ruling::Invalid;
    }
    let mut reasons = Vec::new();
    for (number, rule) in policy.rules.iter().enumerate() {
        match lacking(rule, access) {
            None => return Ruling::AllowedBy(number),
            Some(reason) => reasons.push(reason),
        }
    }
    if policy.deny_by_default {
        Ruling::Denied(reasons)
    } else {
        Ruling::AllowedByDefault
    }
}

/// Why a rule does not take a request; `None`: it does.
fn lacking(rule: &AccessRule, access: &Access<'_>) -> Option<Lacking> {
    if !takes_caller(rule, access.caller) {
        return Some(Lacking::Caller);
    }
    let said = access.http.and_then(|http| http.claims);
    if !super::claims::hold(&rule.claims, said) {
        return Some(Lacking::Claims);
    }
    if !rule.ports.is_empty() && !rule.ports.contains(&access.port) {
        return Some(Lacking::Port);
    }
    let methods = AccessRule {
        methods: rule.methods.clone(),
        ..AccessRule::default()
    };
    if !takes_http(&methods, access.http) {
        return Some(Lacking::Method);
    }
    (!takes_http(rule, access.http)).then_some(Lacking::Path)
}
