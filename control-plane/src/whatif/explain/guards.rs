//! What stands at a door: whose tokens are believed, what is counted, and who decided that.

use usher_config::{
    kind::{Kind, ObjectKey},
    model::{Authentication, LimitKey, PathRule, RateLimit, RateLimits},
    value::format_duration,
};

use super::{super::policy, Field, Known, fields};
use crate::compile::explain::{self, Decided, Door};

/// Tokens, then limits, field by field; nothing where nobody asks for any.
pub(super) fn guards<'l>(
    known: Known<'_>,
    door: &Door<'_>,
    tokens: Option<&Authentication>,
    limits: impl Iterator<Item = &'l RateLimits>,
) -> Vec<Field> {
    let mut decided = match tokens {
        Some(tokens) => of_tokens(known, door, tokens),
        None => Vec::new(),
    };
    decided.extend(limits.flat_map(of_limits));
    fields(known, decided)
}

fn of_tokens(known: Known<'_>, door: &Door<'_>, tokens: &Authentication) -> Vec<Decided> {
    let by = policy(Kind::AuthenticationPolicy, &tokens.name);
    let decided = |field: &str, value: String, by: Option<ObjectKey>| Decided {
        field: field.to_owned(),
        value,
        by,
    };
    if tokens.invalid {
        let closed = "everything is refused: it never was valid".to_owned();
        return vec![decided("token", closed, by)];
    }
    let (mode, said) = match tokens.required {
        true => ("Required", "no token: 401"),
        false => ("Optional", "no token: no claims"),
    };
    let mode_by = explain::mode_by(known.world, door, tokens).or_else(|| by.clone());
    let mut told = vec![decided("mode", format!("{mode} ({said})"), mode_by)];
    for provider in &tokens.providers {
        let audiences = provider.audiences.join(" or ");
        let keys = match provider.keys.is_empty() {
            true => "; its keys are fetched by a control plane",
            false => "",
        };
        let value = format!("{} for {audiences}{keys}", provider.issuer);
        told.push(decided("jwt", value, by.clone()));
        let headers = provider.headers.iter();
        let headers: Vec<String> = headers
            .map(|(claim, header)| format!("{claim} into {header}"))
            .collect();
        if !headers.is_empty() {
            let value = format!("{} of {}", headers.join(", "), provider.issuer);
            told.push(decided("jwt.claimsToHeaders", value, by.clone()));
        }
    }
    told
}

fn of_limits(limits: &RateLimits) -> impl Iterator<Item = Decided> {
    let by = policy(Kind::RateLimitPolicy, &limits.policy);
    let trial = match limits.dry_run {
        true => ", on trial: refuses nothing",
        false => "",
    };
    limits.limits.iter().map(move |limit| Decided {
        field: format!("limits.{}", limit.name),
        value: format!("{}{trial}", shown(limit)),
        by: by.clone(),
    })
}

fn shown(limit: &RateLimit) -> String {
    let mut text = format!("{} in {}", limit.requests, format_duration(limit.per));
    if limit.burst != limit.requests {
        text.push_str(&format!(", at once {}", limit.burst));
    }
    if !limit.key.is_empty() {
        let keys: Vec<String> = limit.key.iter().map(key).collect();
        text.push_str(&format!(", by {}", keys.join(" and ")));
    }
    let when = &limit.when;
    let methods = when.methods.iter().map(ToString::to_string);
    let paths = when.paths.iter().map(|path| match path {
        PathRule::Exact(path) => path.clone(),
        PathRule::Prefix(path) => format!("{path}*"),
    });
    let headers = when.headers.iter().map(|(name, _)| name.to_string());
    let only: Vec<String> = methods.chain(paths).chain(headers).collect();
    if !only.is_empty() {
        text.push_str(&format!(", only {}", only.join(" ")));
    }
    text
}

fn key(key: &LimitKey) -> String {
    match key {
        LimitKey::Identity => "calling workload".to_owned(),
        LimitKey::Header(name) => format!("header {name}"),
        LimitKey::Claim(name) => format!("claim {name}"),
        LimitKey::Path => "path".to_owned(),
        LimitKey::Route => "route".to_owned(),
        LimitKey::Source => "address".to_owned(),
    }
}
