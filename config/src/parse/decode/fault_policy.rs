//! `FaultPolicy`.

use std::{ops::RangeInclusive, time::Duration};

use http::StatusCode;

use crate::{
    kind::{FaultAbort, FaultAnswer, FaultDelay, FaultPolicySpec, TargetKind},
    parse::place::Place,
    value::{Name, Timespan, format_duration},
};

use super::{reference, resilience::share, route::headers};

/// A fault for a whole mesh or namespace is an outage.
pub(super) const TARGETS: [TargetKind; 3] = [
    TargetKind::Service,
    TargetKind::HttpRoute,
    TargetKind::GrpcRoute,
];

pub(super) fn policy(place: &Place<'_>, namespace: Option<&Name>) -> Option<FaultPolicySpec> {
    const EXPIRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let mut fields = place.fields()?;
    let target_refs = reference::targets(&mut fields, &TARGETS, namespace);
    let expire_after = fields.required("expireAfter", |place| {
        within(&place, EXPIRY, "from 1s to 24h: faults end by themselves")
    });
    let headers = headers(&mut fields);
    let delay = fields.optional("delay", delay);
    let abort = fields.optional("abort", abort);
    if fields.at("delay").is_none() && fields.at("abort").is_none() {
        place.wrong::<()>("neither `delay` nor `abort`", "at least one of them");
    }
    fields.finish();
    Some(FaultPolicySpec {
        target_refs,
        expire_after: expire_after?,
        headers,
        delay,
        abort,
    })
}

fn delay(place: Place<'_>) -> Option<FaultDelay> {
    const RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(300);
    let mut fields = place.fields()?;
    let percent = fields.required("percent", share);
    let duration = fields.required("duration", |place| {
        within(&place, RANGE, "a delay from 1ms to 5m")
    });
    fields.finish();
    Some(FaultDelay {
        percent: percent?,
        duration: duration?,
    })
}

fn abort(place: Place<'_>) -> Option<FaultAbort> {
    let mut fields = place.fields()?;
    let percent = fields.required("percent", share);
    let answer = fields.one_of(&[("status", status), ("grpcStatus", grpc_status)]);
    fields.finish();
    Some(FaultAbort {
        percent: percent?,
        answer: answer?,
    })
}

fn status(place: Place<'_>) -> Option<FaultAnswer> {
    let number = u16::try_from(place.integer(400..=599)?).ok()?;
    StatusCode::from_u16(number).ok().map(FaultAnswer::Status)
}

fn grpc_status(place: Place<'_>) -> Option<FaultAnswer> {
    place.choice().map(FaultAnswer::GrpcStatus)
}

pub(super) fn within(
    place: &Place<'_>,
    range: RangeInclusive<Duration>,
    allowed: &str,
) -> Option<Timespan> {
    let timespan: Timespan = place.parse()?;
    if range.contains(&timespan.0) {
        Some(timespan)
    } else {
        place.wrong(format!("`{}`", format_duration(timespan.0)), allowed)
    }
}
