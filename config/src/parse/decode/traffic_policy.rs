//! `TrafficPolicy`, but for what acts on failure.

use http::StatusCode;

use crate::{
    kind::{
        Backoff, Budget, Limits, MinRetryRate, PerEndpointLimits, Retry, TargetKind, Timeouts,
        TrafficPolicySpec,
    },
    parse::fields::Fields,
    parse::place::Place,
    value::{Name, Timespan},
};

use super::{
    at_most, load_balancer::load_balancer, positive, reference, resilience, route::header_name,
};

pub(super) const TARGETS: [TargetKind; 5] = [
    TargetKind::Mesh,
    TargetKind::Namespace,
    TargetKind::Service,
    TargetKind::HttpRoute,
    TargetKind::GrpcRoute,
];

pub(super) fn policy(place: &Place<'_>, namespace: Option<&Name>) -> Option<TrafficPolicySpec> {
    let mut fields = place.fields()?;
    let spec = TrafficPolicySpec {
        target_refs: reference::targets(&mut fields, &TARGETS, namespace),
        timeouts: fields.group("timeouts", timeouts),
        retry: fields.group("retry", retry),
        limits: fields.group("limits", limits),
        ejection: fields.optional("ejection", resilience::ejection),
        breaker: fields.optional("breaker", resilience::breaker),
        fallback: fields.optional("fallback", resilience::fallback),
        load_balancer: fields.group("loadBalancer", load_balancer),
    };
    fields.finish();
    Some(spec)
}

fn timeouts(place: Place<'_>) -> Option<Timeouts> {
    let mut fields = place.fields()?;
    let timeouts = Timeouts {
        request: fields.optional("request", |place| place.parse()),
        backend_request: fields.optional("backendRequest", |place| place.parse()),
        connect: fields.optional("connect", positive),
        idle: fields.optional("idle", |place| place.parse()),
        stream_max_duration: fields.optional("streamMaxDuration", |place| place.parse()),
    };
    let bound = timeouts
        .request
        .filter(|request: &Timespan| !request.0.is_zero());
    at_most(
        &mut fields,
        ("backendRequest", timeouts.backend_request),
        ("request", bound),
    );
    fields.finish();
    Some(timeouts)
}

fn retry(place: Place<'_>) -> Option<Retry> {
    let mut fields = place.fields()?;
    let retry = Retry {
        attempts: fields.optional("attempts", |place| place.integer(0..=10)),
        backoff: fields.group("backoff", backoff),
        codes: codes(&mut fields),
        grpc_statuses: fields.at("grpcStatuses").map(|place| {
            place
                .items(0..=16)
                .into_iter()
                .filter_map(|place| place.choice())
                .collect()
        }),
        idempotent_methods: fields.at("idempotentMethods").map(|place| {
            place
                .items(0..=256)
                .into_iter()
                .filter_map(|place| grpc_method(&place))
                .collect()
        }),
        idempotency_header: fields.optional("idempotencyHeader", |place| header_name(&place)),
        replay_buffer_bytes: fields
            .optional("replayBufferBytes", |place| place.integer(0..=16 << 20)),
        allow_nested: fields.optional("allowNested", |place| place.boolean()),
        budget: fields.group("budget", |place| {
            let mut fields = place.fields()?;
            let percent = fields.optional("percent", |place| place.number());
            let interval = fields.optional("interval", positive);
            fields.finish();
            Some(Budget { percent, interval })
        }),
        min_retry_rate: fields.group("minRetryRate", |place| {
            let mut fields = place.fields()?;
            let count = fields.optional("count", |place| place.integer(0..=1_000_000));
            let interval = fields.optional("interval", positive);
            fields.finish();
            Some(MinRetryRate { count, interval })
        }),
    };
    fields.finish();
    Some(retry)
}

fn backoff(place: Place<'_>) -> Option<Backoff> {
    let mut fields = place.fields()?;
    let base = fields.optional("base", positive);
    let max = fields.optional("max", positive);
    at_most(&mut fields, ("base", base), ("max", max));
    fields.finish();
    Some(Backoff { base, max })
}

/// `codes`, of a retry.
pub(super) fn codes(fields: &mut Fields<'_>) -> Option<Vec<StatusCode>> {
    let code = |place: &Place<'_>| {
        let number = u16::try_from(place.integer(400..=599)?).ok()?;
        StatusCode::from_u16(number).ok()
    };
    let place = fields.at("codes")?;
    Some(place.items(0..=64).iter().filter_map(code).collect())
}

/// `package.Service/Method`.
fn grpc_method(place: &Place<'_>) -> Option<String> {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
    };
    let whole = |text: &str| {
        let (service, method) = text.split_once('/')?;
        (is_name(service) && is_name(method)).then(|| text.to_owned())
    };
    place.read(whole, "`package.Service/Method`, without a leading slash")
}

fn limits(place: Place<'_>) -> Option<Limits> {
    let mut fields = place.fields()?;
    let limits = Limits {
        max_connections: fields.optional("maxConnections", several),
        max_pending_requests: fields.optional("maxPendingRequests", several),
        max_concurrent_requests: fields.optional("maxConcurrentRequests", several),
        per_endpoint: fields.group("perEndpoint", per_endpoint),
    };
    fields.finish();
    Some(limits)
}

fn per_endpoint(place: Place<'_>) -> Option<PerEndpointLimits> {
    let mut fields = place.fields()?;
    let limits = PerEndpointLimits {
        max_connections: fields.optional("maxConnections", several),
        max_pending_requests: fields.optional("maxPendingRequests", several),
        max_concurrent_requests: fields.optional("maxConcurrentRequests", several),
    };
    fields.finish();
    Some(limits)
}

fn several(place: Place<'_>) -> Option<u32> {
    place.integer(1..=1_000_000)
}
