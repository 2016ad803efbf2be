//! `RateLimits`.

use std::time::Duration;

use http::{HeaderName, Method};

use crate::model::{LimitKey, LimitWhen, PathRule, RateLimit, RateLimits};

use super::{
    DecodeError,
    inbound_policy::{decode_path_rule, encode_path_rule},
    route::{decode_named_match, named_match},
    scalar::{Decoded, list, positive_millis, required, to_millis},
    v1,
};

/// How long a burst may take to come back.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

impl From<&RateLimits> for v1::RateLimits {
    fn from(limits: &RateLimits) -> Self {
        Self {
            policy: limits.policy.to_string(),
            target: limits.target.to_string(),
            dry_run: limits.dry_run,
            limits: limits.limits.iter().map(Into::into).collect(),
        }
    }
}

impl From<&RateLimit> for v1::RateLimit {
    fn from(limit: &RateLimit) -> Self {
        let when = &limit.when;
        Self {
            name: limit.name.to_string(),
            requests: limit.requests,
            per_ms: to_millis(limit.per),
            burst: limit.burst,
            key: limit.key.iter().map(Into::into).collect(),
            keys_max: limit.keys_max,
            methods: when.methods.iter().map(ToString::to_string).collect(),
            paths: when.paths.iter().map(encode_path_rule).collect(),
            headers: when
                .headers
                .iter()
                .map(|(name, matches)| named_match(name.as_str(), matches))
                .collect(),
        }
    }
}

impl From<&LimitKey> for v1::LimitKey {
    fn from(key: &LimitKey) -> Self {
        use v1::limit_key::Kind;
        let kind = match key {
            LimitKey::Identity => Kind::Identity(true),
            LimitKey::Header(name) => Kind::Header(name.to_string()),
            LimitKey::Claim(name) => Kind::Claim(name.to_string()),
            LimitKey::Path => Kind::Path(true),
            LimitKey::Route => Kind::Route(true),
            LimitKey::Source => Kind::Source(true),
        };
        Self { kind: Some(kind) }
    }
}

pub(super) fn decode_limits(message: v1::RateLimits) -> Decoded<RateLimits> {
    Ok(RateLimits {
        policy: message.policy.into(),
        target: message.target.into(),
        dry_run: message.dry_run,
        limits: list("limits", message.limits, decode_limit)?,
    })
}

fn decode_limit(message: v1::RateLimit) -> Decoded<RateLimit> {
    let (requests, burst) = (
        at_least_one("requests", message.requests)?,
        at_least_one("burst", message.burst)?,
    );
    let per = positive_millis("per_ms", message.per_ms)?;
    let back = per.as_secs_f64() / f64::from(requests) * f64::from(burst);
    if back > LONGEST.as_secs_f64() {
        let allowed = "a burst that comes back within 30 days";
        return Err(DecodeError::at("burst", burst, allowed));
    }
    Ok(RateLimit {
        name: message.name.into(),
        requests,
        per,
        burst,
        key: list("key", message.key, decode_key)?,
        keys_max: match message.keys_max {
            16..=100_000 => message.keys_max,
            other => return Err(DecodeError::at("keys_max", other, "16 to 100000")),
        },
        when: LimitWhen {
            methods: list("methods", message.methods, |method| {
                Method::from_bytes(method.as_bytes())
                    .map_err(|_| DecodeError::at("", &method, "an HTTP method (RFC 9110 token)"))
            })?,
            paths: list::<_, PathRule>("paths", message.paths, decode_path_rule)?,
            headers: list("headers", message.headers, decode_named_match)?,
        },
    })
}

fn at_least_one(field: &str, number: u32) -> Decoded<u32> {
    match number {
        1..=1_000_000 => Ok(number),
        other => Err(DecodeError::at(field, other, "1 to 1000000")),
    }
}

fn decode_key(message: v1::LimitKey) -> Decoded<LimitKey> {
    use v1::limit_key::Kind;
    Ok(match required("kind", message.kind)? {
        Kind::Identity(_) => LimitKey::Identity,
        Kind::Header(name) => LimitKey::Header(
            HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| DecodeError::at("header", &name, "a header name"))?,
        ),
        Kind::Claim(name) => LimitKey::Claim(name.into()),
        Kind::Path(_) => LimitKey::Path,
        Kind::Route(_) => LimitKey::Route,
        Kind::Source(_) => LimitKey::Source,
    })
}
