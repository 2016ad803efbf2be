//! The parts of `TrafficPolicy` that act on failure.

use std::{ops::RangeInclusive, time::Duration};

use http::{HeaderValue, StatusCode};

use crate::{
    kind::{
        Breaker, Ejection, Fallback, FallbackTarget, ResponseHeader, StaticResponse, SuccessRate,
    },
    parse::fields::Once,
    parse::place::Place,
    value::{Percent, Timespan},
};

use super::{at_most, positive, reference, route::header_name};

/// Headers that only the proxy may set: they frame the message, or speak for the mesh.
const FRAMING: [&str; 7] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const BODY_MAX: usize = 64 * 1024;

pub(super) fn ejection(place: Place<'_>) -> Option<Ejection> {
    let mut fields = place.fields()?;
    let (base, max) = (
        fields.optional("base", positive),
        fields.optional("max", positive),
    );
    at_most(&mut fields, ("base", base), ("max", max));
    let ejection = Ejection {
        enabled: fields.optional("enabled", |place| place.boolean()),
        consecutive_failures: fields
            .optional("consecutiveFailures", |place| place.integer(1..=1000)),
        success_rate: fields.optional("successRate", success_rate),
        base,
        max,
        max_ejection_percent: fields.optional("maxEjectionPercent", |place| place.number()),
        min_ready_endpoints: fields
            .optional("minReadyEndpoints", |place| place.integer(0..=100_000)),
    };
    fields.finish();
    Some(ejection)
}

fn success_rate(place: Place<'_>) -> Option<SuccessRate> {
    let mut fields = place.fields()?;
    let threshold = fields.required("threshold", share);
    let window = fields.optional("window", window);
    let min_attempts = fields.optional("minAttempts", |place| place.integer(1..=1_000_000));
    fields.finish();
    Some(SuccessRate {
        threshold: threshold?,
        window,
        min_attempts,
    })
}

pub(super) fn breaker(place: Place<'_>) -> Option<Breaker> {
    let mut fields = place.fields()?;
    let breaker = Breaker {
        scope: fields.optional("scope", |place| place.choice()),
        mode: fields.optional("mode", |place| place.choice()),
        forced: fields.optional("forced", |place| place.choice()),
        window: fields.optional("window", window),
        min_requests: fields.optional("minRequests", |place| place.integer(1..=1_000_000)),
        failure_rate: fields.optional("failureRate", share),
        slow_call_duration: fields.optional("slowCallDuration", positive),
        slow_call_rate: fields.optional("slowCallRate", share),
        open_for: fields.optional("openFor", positive),
        max_open_for: fields.optional("maxOpenFor", positive),
        half_open_permits: fields.optional("halfOpenPermits", |place| place.integer(1..=15)),
        max_wait: fields.optional("maxWait", positive),
    };
    at_most(
        &mut fields,
        ("openFor", breaker.open_for),
        ("maxOpenFor", breaker.max_open_for),
    );
    fields.finish();
    Some(breaker)
}

/// A share that means something: 0 % would act on everything.
pub(super) fn share(place: Place<'_>) -> Option<Percent> {
    let percent = place.integer(1..=100)?;
    Percent::try_from(percent).ok()
}

/// A window is kept in 10 buckets, so it cannot be arbitrarily short.
fn window(place: Place<'_>) -> Option<Timespan> {
    const RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
    let window: Timespan = place.parse()?;
    if RANGE.contains(&window.0) {
        Some(window)
    } else {
        place.wrong(
            format!("`{}`", crate::value::format_duration(window.0)),
            "a window from 1s to 10m",
        )
    }
}

pub(super) fn fallback(place: Place<'_>) -> Option<Fallback> {
    let mut fields = place.fields()?;
    // `on` is the truth value to YAML 1.1, hence to kubectl and PyYAML: they send it as the key `true`.
    let renamed =
        "`when`: to YAML 1.1 a plain `on` is the truth value, so the field is called otherwise";
    fields.renamed("on", renamed);
    fields.renamed("true", renamed);
    let when = fields.at("when").map(|place| {
        place
            .items(1..=3)
            .into_iter()
            .filter_map(|place| place.choice())
            .collect()
    });
    let repeatable = fields.optional("repeatable", |place| place.boolean());
    let target = fields.one_of(&[("backendRef", backend), ("response", response)]);
    fields.finish();
    Some(Fallback {
        when,
        repeatable,
        target: target?,
    })
}

fn backend(place: Place<'_>) -> Option<FallbackTarget> {
    reference::service(place).map(FallbackTarget::BackendRef)
}

fn response(place: Place<'_>) -> Option<FallbackTarget> {
    let mut fields = place.fields()?;
    let status = fields.at("status").map_or(Some(StatusCode::OK), |place| {
        let number = u16::try_from(place.integer(200..=599)?).ok()?;
        StatusCode::from_u16(number).ok()
    });
    let mut once = Once::default();
    let headers = fields.list("headers", 0..=32, |place| header(&place, &mut once));
    let body = fields.group("body", |place| {
        let text = place.text()?;
        if text.len() > BODY_MAX {
            return place.wrong(
                format!("{} bytes", text.len()),
                format!("at most {BODY_MAX} bytes"),
            );
        }
        if !text.is_empty() && matches!(status.map(|status| status.as_u16()), Some(204 | 205 | 304))
        {
            return place.wrong("a body", "none: this status never has one (RFC 9110)");
        }
        Some(text.to_owned())
    });
    fields.finish();
    Some(FallbackTarget::Response(StaticResponse {
        status: status?,
        headers,
        body,
    }))
}

fn header(place: &Place<'_>, once: &mut Once) -> Option<ResponseHeader> {
    let mut fields = place.fields()?;
    let name = fields.required("name", |place| {
        let name = header_name(&place)?;
        if FRAMING.contains(&name.as_str()) || name.as_str().starts_with("x-usher-") {
            return place.wrong(format!("`{name}`"), "a header that is not the proxy's own");
        }
        Some(name)
    });
    let value = fields.required("value", |place| {
        place.read(|text| HeaderValue::from_str(text).ok(), "printable ASCII")
    });
    fields.finish();
    let name = name?;
    once.check(place, name.as_str());
    Some(ResponseHeader {
        name,
        value: value?,
    })
}
