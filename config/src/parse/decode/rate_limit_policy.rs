//! `RateLimitPolicy`.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    kind::{LimitKey, LimitWhen, RateLimit, RateLimitPolicySpec, TargetKind, TargetRef},
    parse::fields::Once,
    parse::place::Place,
    value::{Name, Timespan, format_duration},
};

use super::{
    access_policy::written,
    fault_policy::within,
    reference,
    route::{header_name, headers},
};

pub(super) const TARGETS: [TargetKind; 6] = [
    TargetKind::Mesh,
    TargetKind::Namespace,
    TargetKind::Service,
    TargetKind::Gateway,
    TargetKind::HttpRoute,
    TargetKind::GrpcRoute,
];

/// What a policy's targets make of it: which keys requests have there.
#[derive(Debug, Clone, Copy)]
struct Enforced {
    by_sidecars: bool,
    by_gateways: bool,
}

impl Enforced {
    fn at(targets: &[TargetRef]) -> Self {
        let any = |wanted: fn(TargetKind) -> bool| targets.iter().any(|target| wanted(target.kind));
        Self {
            by_sidecars: any(|kind| kind <= TargetKind::Service),
            by_gateways: any(|kind| kind > TargetKind::Service),
        }
    }
}

pub(super) fn policy(place: &Place<'_>, namespace: Option<&Name>) -> Option<RateLimitPolicySpec> {
    let mut fields = place.fields()?;
    let target_refs = reference::targets(&mut fields, &TARGETS, namespace);
    let enforced = Enforced::at(&target_refs);
    let dry_run = fields.optional("dryRun", |place| place.boolean());
    let mut once = Once::default();
    let limits = fields.list("limits", 1..=16, |place| {
        let limit = limit(&place, enforced)?;
        once.check(&place, limit.name.as_str());
        Some(limit)
    });
    fields.finish();
    Some(RateLimitPolicySpec {
        target_refs,
        dry_run,
        limits,
    })
}

fn limit(place: &Place<'_>, enforced: Enforced) -> Option<RateLimit> {
    const PER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
    let mut fields = place.fields()?;
    let name = fields.required("name", |place| place.parse());
    let requests = fields.required("requests", |place| place.integer(1..=1_000_000));
    let per = fields.required("per", |place| within(&place, PER, "from 1ms to 24h"));
    let burst = fields.optional("burst", |place| place.integer(1..=1_000_000));
    if let (Some(requests), Some(per), Some(burst)) = (requests, per, burst)
        && let Some(place) = fields.at("burst")
    {
        bounded(&place, (requests, per), burst);
    }
    let mut once = Once::default();
    let key = written(&mut fields, "key", |place| {
        let key = key(&place, enforced)?;
        once.check(&place, format!("{key:?}"));
        Some(key)
    });
    if key.len() > 4
        && let Some(place) = fields.at("key")
    {
        place.wrong::<()>(format!("{} parts", key.len()), "at most 4");
    }
    let max_keys = fields.optional("maxKeys", |place| place.integer(16..=100_000));
    let when = fields.group("when", when);
    fields.finish();
    Some(RateLimit {
        name: name?,
        requests: requests?,
        per: per?,
        burst,
        key,
        max_keys,
        when,
    })
}

/// A burst that takes a year to come back is no limit, and no number that a bucket could hold.
fn bounded(place: &Place<'_>, (requests, per): (u32, Timespan), burst: u32) {
    const LONGEST: Duration = Duration::from_secs(30 * 86_400);
    let back = per.0.as_secs_f64() / f64::from(requests) * f64::from(burst);
    if back > LONGEST.as_secs_f64() {
        let each = format_duration(per.0);
        place.wrong::<()>(
            format!("`{burst}`, which at {requests} in {each} take more than 30 days to come back"),
            "a burst that comes back within 30 days",
        );
    }
}

fn when(place: Place<'_>) -> Option<LimitWhen> {
    let mut fields = place.fields()?;
    let when = LimitWhen {
        methods: written(&mut fields, "methods", |place| place.choice()),
        paths: written(&mut fields, "paths", |place| place.parse()),
        headers: headers(&mut fields),
    };
    fields.finish();
    Some(when)
}

fn key(place: &Place<'_>, enforced: Enforced) -> Option<LimitKey> {
    let mut fields = place.fields()?;
    let key = fields.one_of(&[
        ("identity", identity),
        ("header", header),
        ("claim", claim),
        ("path", path),
        ("route", route),
        ("source", source),
    ]);
    fields.finish();
    let key = key?;
    match key {
        LimitKey::Identity {} if enforced.by_gateways => place.wrong(
            "`identity`, of callers outside the mesh",
            "`source`, `header` or `claim` at a Gateway: its callers have no identity",
        ),
        LimitKey::Route {} if enforced.by_sidecars => place.wrong(
            "`route`, at a sidecar",
            "`path`, or limits with `when`: a called service's sidecar knows no routes",
        ),
        LimitKey::Source {} if enforced.by_sidecars => place.wrong(
            "`source`, at a sidecar",
            "`identity`: a sidecar is called by other sidecars; addresses are told apart at a Gateway",
        ),
        key => Some(key),
    }
}

fn header(place: Place<'_>) -> Option<LimitKey> {
    header_name(&place).map(LimitKey::Header)
}

fn claim(place: Place<'_>) -> Option<LimitKey> {
    claim_name(&place).map(LimitKey::Claim)
}

/// The name of a claim at the top of a token.
pub(super) fn claim_name(place: &Place<'_>) -> Option<String> {
    let sane = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=128).contains(&text.len()) && plain).then(|| text.to_owned())
    };
    place.read(sane, "a claim's name, such as `sub`")
}

fn identity(place: Place<'_>) -> Option<LimitKey> {
    nothing(&place).map(|()| LimitKey::Identity {})
}

fn path(place: Place<'_>) -> Option<LimitKey> {
    nothing(&place).map(|()| LimitKey::Path {})
}

fn route(place: Place<'_>) -> Option<LimitKey> {
    nothing(&place).map(|()| LimitKey::Route {})
}

fn source(place: Place<'_>) -> Option<LimitKey> {
    nothing(&place).map(|()| LimitKey::Source {})
}

fn nothing(place: &Place<'_>) -> Option<()> {
    place.fields()?.finish();
    Some(())
}
