//! `AuthenticationPolicy`.

use std::{ops::RangeInclusive, time::Duration};

use http::HeaderName;

use crate::{
    kind::{
        AuthenticationPolicySpec, ClaimToHeader, JwksSource, JwtProvider, TargetKind, TokenFrom,
        reserved_header,
    },
    parse::fields::Once,
    parse::place::Place,
    value::Name,
};

use super::{fault_policy::within, rate_limit_policy::claim_name, reference, route::header_name};

pub(super) const TARGETS: [TargetKind; 6] = super::rate_limit_policy::TARGETS;

pub(super) fn policy(
    place: &Place<'_>,
    namespace: Option<&Name>,
) -> Option<AuthenticationPolicySpec> {
    let mut fields = place.fields()?;
    let mut once = Once::default();
    let spec = AuthenticationPolicySpec {
        target_refs: reference::targets(&mut fields, &TARGETS, namespace),
        mode: fields.optional("mode", |place| place.choice()),
        jwt: fields.list("jwt", 1..=8, |place| {
            let provider = provider(&place)?;
            once.check(&place, provider.issuer.as_str());
            Some(provider)
        }),
    };
    fields.finish();
    Some(spec)
}

fn provider(place: &Place<'_>) -> Option<JwtProvider> {
    let mut fields = place.fields()?;
    let issuer = fields.required("issuer", |place| plain(&place));
    let audiences = fields.list("audiences", 1..=16, |place| plain(&place));
    let jwks = fields.required("jwks", |place| source(&place));
    let mut once = Once::default();
    let algorithms = fields.at("algorithms").map(|place| {
        let all = place.items(1..=9).into_iter().filter_map(|place| {
            let one: crate::kind::TokenAlgorithm = place.choice()?;
            once.check(&place, one.to_string());
            Some(one)
        });
        all.collect()
    });
    let from = fields.group("from", from);
    let forward = fields.optional("forward", |place| place.choice());
    let mut once = Once::default();
    let claims_to_headers = fields.list("claimsToHeaders", 0..=16, |place| {
        let one = claim_to_header(&place)?;
        once.check(&place, one.header.as_str());
        Some(one)
    });
    fields.finish();
    Some(JwtProvider {
        issuer: issuer?,
        audiences,
        jwks: jwks?,
        algorithms,
        from,
        forward,
        claims_to_headers,
    })
}

/// A name that somebody else has given.
pub(super) fn plain(place: &Place<'_>) -> Option<String> {
    let sane = |text: &str| {
        let printable = !text.chars().any(char::is_control) && text.trim() == text;
        ((1..=1024).contains(&text.len()) && printable).then(|| text.to_owned())
    };
    place.read(sane, "1 to 1024 characters, as tokens have them")
}

fn source(place: &Place<'_>) -> Option<JwksSource> {
    const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let mut fields = place.fields()?;
    let inline = fields.at("inline");
    let uri = fields.at("uri");
    if inline.is_some() == uri.is_some() {
        let found = if uri.is_some() {
            "both"
        } else {
            "none of them"
        };
        place.wrong::<()>(found, "exactly one of `inline`, `uri`");
    }
    let refresh = fields.at("refreshInterval");
    if let (Some(refresh), None) = (&refresh, &uri) {
        refresh.wrong::<()>(
            "a refreshInterval",
            "none: only what has a `uri` is fetched again",
        );
    }
    let source = JwksSource {
        inline: inline.and_then(|place| place.parse()),
        uri: uri.and_then(|place| place.parse()),
        refresh_interval: refresh.and_then(|place| within(&place, EVERY, "from 1s to 24h")),
    };
    fields.finish();
    Some(source)
}

fn from(place: Place<'_>) -> Option<TokenFrom> {
    let mut fields = place.fields()?;
    let from = TokenFrom {
        header: fields.optional("header", |place| header_name(&place)),
        cookie: fields.optional("cookie", |place| {
            // RFC 6265 §4.1.1: a token, as a header's name is.
            let token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
            place.read(
                |text| token(text).then(|| text.to_owned()),
                "a cookie's name",
            )
        }),
    };
    if from.header.is_some() && from.cookie.is_some() {
        place.wrong::<()>("both `header` and `cookie`", "at most one of them");
    }
    fields.finish();
    Some(from)
}

fn claim_to_header(place: &Place<'_>) -> Option<ClaimToHeader> {
    let mut fields = place.fields()?;
    let claim = fields.required("claim", |place| claim_name(&place));
    let header = fields.required("header", |place| {
        let name = header_name(&place)?;
        let reserved = match name.as_str() {
            "authorization" | "cookie" => Some("tokens come in it"),
            name if name.starts_with("x-forwarded-") => Some("it says where a request came from"),
            name => reserved_header(name),
        };
        match reserved {
            Some(why) => place.wrong(format!("`{name}`"), format!("another header: {why}")),
            None => Some(name),
        }
    });
    fields.finish();
    Some(ClaimToHeader {
        claim: claim?,
        header: header?,
    })
}
