//! TrafficPolicies, widest to narrowest, → one treatment with every field filled in.

use std::{sync::Arc, time::Duration};

use usher_config::{
    kind::{self, FallbackWhen, ObjectKey, TrafficPolicySpec},
    model::{
        Breaker, BreakerMode, BreakerScope, Ejection, Fallback, FallbackTarget, Fault, Forced,
        Limits, PerEndpointLimits, Retry, RetryBudget, ServiceTarget, StaticResponse, SuccessRate,
        Timeouts, TrafficPolicy,
    },
    value::{ServiceName, Timespan, format_duration},
};

use super::{
    Finding, Reason,
    index::Index,
    load_balancer::load_balancer,
    references::{Broken, Referrer, Whose, follow},
    targets::{Target, Targets},
};

/// One layer of policy, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Layer<'a> {
    /// The policy, or the route whose rule says it itself.
    pub(super) object: ObjectKey,
    pub(super) spec: std::borrow::Cow<'a, TrafficPolicySpec>,
}

impl<'a> From<&'a kind::TrafficPolicy> for Layer<'a> {
    fn from(policy: &'a kind::TrafficPolicy) -> Self {
        Self {
            object: ObjectKey {
                kind: kind::Kind::TrafficPolicy,
                namespace: policy.metadata.namespace.clone(),
                name: policy.metadata.name.clone(),
            },
            spec: std::borrow::Cow::Borrowed(&policy.spec),
        }
    }
}

/// The layers that hold for a service, widest first.
pub(super) fn layers_of_service<'a>(
    targets: &Targets<'a>,
    service: &ServiceName,
) -> Vec<Layer<'a>> {
    let wide_to_narrow = [
        Target::Mesh,
        Target::Namespace(service.namespace.clone()),
        Target::Service(service.clone()),
    ];
    wide_to_narrow
        .iter()
        .filter_map(|target| targets.traffic(target))
        .map(Layer::from)
        .collect()
}

/// What the layers say together. A fallback whose service does not exist is left out; [`unresolved`] reports it.
pub(super) fn resolve(
    index: &Index<'_>,
    layers: &[Layer<'_>],
    fault: Option<Fault>,
) -> Arc<TrafficPolicy> {
    let said = layers
        .iter()
        .fold(TrafficPolicySpec::default(), |wider, layer| {
            layer.spec.over(&wider)
        });
    let whole = said.over(&TrafficPolicySpec::defaults());
    let owner = layers
        .iter()
        .rev()
        .find(|layer| layer.spec.fallback.is_some());
    Arc::new(TrafficPolicy {
        name: layers
            .last()
            .map(|layer| format!("{}/{}", layer.object.namespace, layer.object.name))
            .unwrap_or_default()
            .into(),
        timeouts: timeouts(&whole.timeouts, said.timeouts.request.is_some()),
        retry: retry(&whole.retry),
        limits: limits(&whole.limits),
        ejection: whole.ejection.as_ref().and_then(ejection),
        breaker: whole.breaker.as_ref().map(breaker),
        fallback: owner.and_then(|layer| {
            layer
                .spec
                .fallback
                .as_ref()
                .and_then(|written| fallback(index, written, &layer.object))
        }),
        load_balancer: load_balancer(&whole.load_balancer),
        fault,
    })
}

/// The fallback after a failed attempt has what is left of `timeouts.request`: nothing, unless an attempt ends
/// earlier.
pub(super) fn late_fallback(layers: &[Layer<'_>], policy: &TrafficPolicy) -> Option<Finding> {
    policy
        .fallback
        .as_ref()
        .filter(|fallback| fallback.on_exhausted)?;
    let owner = layers
        .iter()
        .rev()
        .find(|layer| layer.spec.fallback.is_some())?;
    let request = policy.timeouts.request;
    let found = match (policy.timeouts.backend_request, request) {
        (None, _) => "is not set".to_owned(),
        (Some(attempt), Some(whole)) if attempt >= whole => {
            format!("is {}", format_duration(attempt))
        }
        (Some(_), _) => return None,
    };
    let whole = request.map_or_else(|| "unlimited".to_owned(), format_duration);
    Some(Finding {
        object: owner.object.clone(),
        reason: Reason::LateFallback,
        message: format!(
            "a slow primary leaves no time for the fallback: timeouts.backendRequest {found}, timeouts.request, \
             which covers both, is {whole}; set backendRequest well below it"
        ),
    })
}

/// Why a policy's fallback cannot be used, if it cannot.
pub(super) fn unresolved(index: &Index<'_>, policy: &kind::TrafficPolicy) -> Option<Broken> {
    match &policy.spec.fallback.as_ref()?.target {
        kind::FallbackTarget::Response(_) => None,
        kind::FallbackTarget::BackendRef(target) => {
            stand_in(index, target, &Layer::from(policy).object).err()
        }
    }
}

/// The service that a policy's fallback means.
fn stand_in(
    index: &Index<'_>,
    target: &kind::ServiceRef,
    object: &ObjectKey,
) -> Result<ServiceTarget, Broken> {
    let service = target.service(&object.namespace);
    follow(
        &Referrer { index, object },
        service,
        target.port,
        Whose::Any,
    )
}

fn timeouts(spec: &kind::Timeouts, request_is_explicit: bool) -> Timeouts {
    let base = Timeouts::default();
    Timeouts {
        request: bound(spec.request),
        request_is_explicit,
        backend_request: bound(spec.backend_request),
        connect: bound(spec.connect).unwrap_or(base.connect),
        idle: bound(spec.idle),
        stream_max: bound(spec.stream_max_duration),
    }
}

/// `0s` means unlimited.
fn bound(span: Option<Timespan>) -> Option<Duration> {
    span.map(Duration::from)
        .filter(|duration| !duration.is_zero())
}

fn or(span: Option<Timespan>, default: Duration) -> Duration {
    span.map_or(default, Duration::from)
}

fn retry(spec: &kind::Retry) -> Retry {
    let base = Retry::default();
    let backoff_base = or(spec.backoff.base, base.backoff_base);
    Retry {
        attempts: spec.attempts.unwrap_or(base.attempts),
        backoff_base,
        // A route may raise the base alone; a maximum below it would make the base a lie.
        backoff_max: or(spec.backoff.max, base.backoff_max).max(backoff_base),
        statuses: spec.codes.clone().unwrap_or(base.statuses),
        grpc_statuses: spec
            .grpc_statuses
            .iter()
            .flatten()
            .map(|status| status.code())
            .collect(),
        idempotent_methods: spec.idempotent_methods.clone().unwrap_or_default(),
        idempotency_header: spec.idempotency_header.clone(),
        replay_buffer_bytes: spec
            .replay_buffer_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(base.replay_buffer_bytes),
        allow_nested: spec.allow_nested.unwrap_or(base.allow_nested),
        budget: RetryBudget {
            percent: spec.budget.percent.unwrap_or(base.budget.percent),
            interval: or(spec.budget.interval, base.budget.interval),
            min_count: spec.min_retry_rate.count.unwrap_or(base.budget.min_count),
            min_interval: or(spec.min_retry_rate.interval, base.budget.min_interval),
        },
    }
}

fn limits(spec: &kind::Limits) -> Limits {
    let base = Limits::default();
    Limits {
        max_connections: spec.max_connections.unwrap_or(base.max_connections),
        max_pending_requests: spec
            .max_pending_requests
            .unwrap_or(base.max_pending_requests),
        max_concurrent_requests: spec
            .max_concurrent_requests
            .unwrap_or(base.max_concurrent_requests),
        per_endpoint: PerEndpointLimits {
            max_connections: spec.per_endpoint.max_connections,
            max_pending_requests: spec.per_endpoint.max_pending_requests,
            max_concurrent_requests: spec.per_endpoint.max_concurrent_requests,
        },
    }
}

fn ejection(written: &kind::Ejection) -> Option<Ejection> {
    let spec = written.over(&kind::Ejection::defaults());
    let base = Ejection::default();
    (spec.enabled != Some(false)).then(|| Ejection {
        consecutive_failures: spec
            .consecutive_failures
            .unwrap_or(base.consecutive_failures),
        success_rate: spec.success_rate.as_ref().map(|rate| SuccessRate {
            threshold: rate.threshold,
            window: rate
                .window
                .unwrap_or(kind::SuccessRate::DEFAULT_WINDOW)
                .into(),
            min_attempts: rate
                .min_attempts
                .unwrap_or(kind::SuccessRate::DEFAULT_MIN_ATTEMPTS),
        }),
        base: or(spec.base, base.base),
        max: or(spec.max, base.max).max(or(spec.base, base.base)),
        max_percent: spec.max_ejection_percent.unwrap_or(base.max_percent),
        min_ready: spec.min_ready_endpoints.unwrap_or(base.min_ready),
    })
}

fn breaker(written: &kind::Breaker) -> Breaker {
    let spec = written.over(&kind::Breaker::defaults());
    let base = Breaker::default();
    let open_for = or(spec.open_for, base.open_for);
    Breaker {
        scope: match spec.scope {
            Some(kind::BreakerScope::Service) | None => BreakerScope::Service,
            Some(kind::BreakerScope::Route) => BreakerScope::Route,
        },
        mode: match spec.mode {
            Some(kind::BreakerMode::Enforce) | None => BreakerMode::Enforce,
            Some(kind::BreakerMode::Observe) => BreakerMode::Observe,
        },
        forced: match spec.forced {
            None => Forced::No,
            Some(kind::Forced::Open) => Forced::Open,
            Some(kind::Forced::Closed) => Forced::Closed,
        },
        window: or(spec.window, base.window),
        min_requests: spec.min_requests.unwrap_or(base.min_requests),
        failure_percent: spec.failure_rate.unwrap_or(base.failure_percent),
        slow_call: or(spec.slow_call_duration, base.slow_call),
        slow_percent: spec.slow_call_rate.unwrap_or(base.slow_percent),
        open_for,
        open_for_max: or(spec.max_open_for, base.open_for_max).max(open_for),
        half_open_permits: spec
            .half_open_permits
            .and_then(|permits| u8::try_from(permits).ok())
            .unwrap_or(base.half_open_permits),
        half_open_max_wait: or(spec.max_wait, base.half_open_max_wait),
    }
}

fn fallback(index: &Index<'_>, written: &kind::Fallback, owner: &ObjectKey) -> Option<Fallback> {
    let when = written
        .when
        .as_deref()
        .unwrap_or(&kind::Fallback::DEFAULT_WHEN);
    let target = match &written.target {
        kind::FallbackTarget::BackendRef(target) => {
            FallbackTarget::Service(stand_in(index, target, owner).ok()?)
        }
        kind::FallbackTarget::Response(response) => FallbackTarget::Response(StaticResponse {
            status: response.status,
            headers: response
                .headers
                .iter()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            body: response.body.clone().into(),
        }),
    };
    Some(Fallback {
        on_open: when.contains(&FallbackWhen::Open),
        on_no_endpoint: when.contains(&FallbackWhen::NoEndpoint),
        on_exhausted: when.contains(&FallbackWhen::Exhausted),
        repeatable: written.repeatable.unwrap_or(false),
        target,
    })
}
