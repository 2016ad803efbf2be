//! `TrafficPolicy`: timeouts, retries, limits, ejection, breaker, fallback.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::model::{
    Breaker, BreakerMode, BreakerScope, Ejection, Fallback, FallbackTarget, Forced, Limits,
    PerEndpointLimits, Retry, RetryBudget, StaticResponse, SuccessRate, Timeouts, TrafficPolicy,
};

use super::{
    DecodeError,
    fault::decode_fault,
    load_balancer::decode_load_balancer,
    route::decode_target,
    scalar::{
        Decoded, list, millis, optional_millis, percent, positive_millis, required, to_millis,
        to_optional_millis,
    },
    v1,
};

/// Largest body a [`StaticResponse`] may have, in bytes.
const STATIC_BODY_MAX: usize = 64 * 1024;
/// Largest replay buffer, in bytes: it is held once per request in flight.
const REPLAY_BUFFER_MAX: usize = 16 * 1024 * 1024;

impl From<&TrafficPolicy> for v1::TrafficPolicy {
    fn from(policy: &TrafficPolicy) -> Self {
        Self {
            name: policy.name.to_string(),
            timeouts: Some((&policy.timeouts).into()),
            retry: Some((&policy.retry).into()),
            limits: Some((&policy.limits).into()),
            ejection: policy.ejection.as_ref().map(Into::into),
            breaker: policy.breaker.as_ref().map(Into::into),
            fallback: policy.fallback.as_ref().map(Into::into),
            load_balancer: Some((&policy.load_balancer).into()),
            fault: policy.fault.as_ref().map(Into::into),
        }
    }
}

pub(super) fn decode_policy(message: v1::TrafficPolicy) -> Decoded<TrafficPolicy> {
    Ok(TrafficPolicy {
        name: message.name.into(),
        timeouts: decode_timeouts(&required("timeouts", message.timeouts)?)
            .map_err(|e| e.under("timeouts"))?,
        retry: decode_retry(required("retry", message.retry)?).map_err(|e| e.under("retry"))?,
        limits: decode_limits(&required("limits", message.limits)?)?,
        ejection: match message.ejection {
            Some(ejection) if ejection.enabled => {
                Some(decode_ejection(&ejection).map_err(|e| e.under("ejection"))?)
            }
            _ => None,
        },
        breaker: message
            .breaker
            .map(|breaker| decode_breaker(&breaker).map_err(|e| e.under("breaker")))
            .transpose()?,
        fallback: message
            .fallback
            .map(|fallback| decode_fallback(fallback).map_err(|e| e.under("fallback")))
            .transpose()?,
        load_balancer: decode_load_balancer(message.load_balancer.unwrap_or_default())
            .map_err(|e| e.under("load_balancer"))?,
        fault: message
            .fault
            .map(|fault| decode_fault(fault).map_err(|e| e.under("fault")))
            .transpose()?,
    })
}

impl From<&Timeouts> for v1::Timeouts {
    fn from(timeouts: &Timeouts) -> Self {
        Self {
            request_ms: to_optional_millis(timeouts.request),
            request_explicit: timeouts.request_is_explicit,
            backend_request_ms: to_optional_millis(timeouts.backend_request),
            connect_ms: to_millis(timeouts.connect).max(1),
            idle_ms: to_optional_millis(timeouts.idle),
            stream_max_ms: to_optional_millis(timeouts.stream_max),
        }
    }
}

fn decode_timeouts(message: &v1::Timeouts) -> Decoded<Timeouts> {
    Ok(Timeouts {
        request: optional_millis("request_ms", message.request_ms)?,
        request_is_explicit: message.request_explicit,
        backend_request: optional_millis("backend_request_ms", message.backend_request_ms)?,
        connect: positive_millis("connect_ms", message.connect_ms)?,
        idle: optional_millis("idle_ms", message.idle_ms)?,
        stream_max: optional_millis("stream_max_ms", message.stream_max_ms)?,
    })
}

impl From<&Retry> for v1::Retry {
    fn from(retry: &Retry) -> Self {
        Self {
            attempts: retry.attempts,
            backoff_base_ms: to_millis(retry.backoff_base),
            backoff_max_ms: to_millis(retry.backoff_max),
            statuses: retry
                .statuses
                .iter()
                .map(|status| status.as_u16().into())
                .collect(),
            grpc_statuses: retry
                .grpc_statuses
                .iter()
                .map(|code| (*code).into())
                .collect(),
            idempotent_methods: retry.idempotent_methods.clone(),
            idempotency_header: retry
                .idempotency_header
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            replay_buffer_bytes: retry.replay_buffer_bytes as u64,
            allow_nested: retry.allow_nested,
            budget_percent: retry.budget.percent.get().into(),
            budget_interval_ms: to_millis(retry.budget.interval),
            min_retry_count: retry.budget.min_count,
            min_retry_interval_ms: to_millis(retry.budget.min_interval),
        }
    }
}

fn decode_retry(message: v1::Retry) -> Decoded<Retry> {
    if message.attempts > 10 {
        return Err(DecodeError::at("attempts", message.attempts, "0 to 10"));
    }
    Ok(Retry {
        attempts: message.attempts,
        backoff_base: millis("backoff_base_ms", message.backoff_base_ms)?,
        backoff_max: millis("backoff_max_ms", message.backoff_max_ms)?,
        statuses: list("statuses", message.statuses, decode_status)?,
        grpc_statuses: list("grpc_statuses", message.grpc_statuses, |code| {
            u8::try_from(code)
                .ok()
                .filter(|code| (1..=16).contains(code))
                .ok_or_else(|| DecodeError::at("", code, "a gRPC status from 1 to 16"))
        })?,
        idempotent_methods: message.idempotent_methods,
        idempotency_header: match message.idempotency_header.as_str() {
            "" => None,
            name => Some(decode_header_name("idempotency_header", name)?),
        },
        replay_buffer_bytes: usize::try_from(message.replay_buffer_bytes)
            .ok()
            .filter(|bytes| *bytes <= REPLAY_BUFFER_MAX)
            .ok_or_else(|| {
                let found = message.replay_buffer_bytes;
                DecodeError::at("replay_buffer_bytes", found, "at most 16 MiB")
            })?,
        allow_nested: message.allow_nested,
        budget: RetryBudget {
            percent: percent("budget_percent", message.budget_percent)?,
            interval: positive_millis("budget_interval_ms", message.budget_interval_ms)?,
            min_count: message.min_retry_count,
            min_interval: positive_millis("min_retry_interval_ms", message.min_retry_interval_ms)?,
        },
    })
}

fn decode_status(status: u32) -> Decoded<StatusCode> {
    u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .filter(|status| (200..=599).contains(&status.as_u16()))
        .ok_or_else(|| DecodeError::at("status", status, "a final HTTP status, 200 to 599"))
}

pub(super) fn decode_header_name(field: &str, name: &str) -> Decoded<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| DecodeError::at(field, name, "a header name"))
}

impl From<&Limits> for v1::Limits {
    fn from(limits: &Limits) -> Self {
        let each = limits.per_endpoint;
        Self {
            max_connections: limits.max_connections,
            max_pending_requests: limits.max_pending_requests,
            max_concurrent_requests: limits.max_concurrent_requests,
            max_concurrent_requests_per_endpoint: each.max_concurrent_requests.unwrap_or(0),
            max_connections_per_endpoint: each.max_connections.unwrap_or(0),
            max_pending_requests_per_endpoint: each.max_pending_requests.unwrap_or(0),
        }
    }
}

fn decode_limits(message: &v1::Limits) -> Decoded<Limits> {
    let positive = |field: &str, number: u32| {
        if number == 0 {
            Err(DecodeError::at(field, number, "at least 1").under("limits"))
        } else {
            Ok(number)
        }
    };
    let bound = |number: u32| (number > 0).then_some(number);
    Ok(Limits {
        max_connections: positive("max_connections", message.max_connections)?,
        max_pending_requests: positive("max_pending_requests", message.max_pending_requests)?,
        max_concurrent_requests: positive(
            "max_concurrent_requests",
            message.max_concurrent_requests,
        )?,
        per_endpoint: PerEndpointLimits {
            max_connections: bound(message.max_connections_per_endpoint),
            max_pending_requests: bound(message.max_pending_requests_per_endpoint),
            max_concurrent_requests: bound(message.max_concurrent_requests_per_endpoint),
        },
    })
}

impl From<&Ejection> for v1::Ejection {
    fn from(ejection: &Ejection) -> Self {
        let rate = ejection.success_rate.as_ref();
        Self {
            enabled: true,
            consecutive_failures: ejection.consecutive_failures,
            success_rate_percent_min: rate.map_or(0, |rate| rate.threshold.get().into()),
            success_rate_window_ms: rate.map_or(0, |rate| to_millis(rate.window)),
            success_rate_attempts_min: rate.map_or(0, |rate| rate.min_attempts),
            base_ms: to_millis(ejection.base),
            max_ms: to_millis(ejection.max),
            max_ejection_percent: ejection.max_percent.get().into(),
            min_ready_endpoints: ejection.min_ready,
        }
    }
}

fn decode_ejection(message: &v1::Ejection) -> Decoded<Ejection> {
    if message.consecutive_failures == 0 {
        return Err(DecodeError::at("consecutive_failures", 0, "at least 1"));
    }
    let success_rate = match message.success_rate_percent_min {
        0 => None,
        threshold => Some(SuccessRate {
            threshold: percent("success_rate_percent_min", threshold)?,
            window: positive_millis("success_rate_window_ms", message.success_rate_window_ms)?,
            min_attempts: message.success_rate_attempts_min,
        }),
    };
    Ok(Ejection {
        consecutive_failures: message.consecutive_failures,
        success_rate,
        base: positive_millis("base_ms", message.base_ms)?,
        max: positive_millis("max_ms", message.max_ms)?,
        max_percent: percent("max_ejection_percent", message.max_ejection_percent)?,
        min_ready: message.min_ready_endpoints,
    })
}

impl From<&Breaker> for v1::Breaker {
    fn from(breaker: &Breaker) -> Self {
        let scope = match breaker.scope {
            BreakerScope::Service => v1::breaker::Scope::Service,
            BreakerScope::Route => v1::breaker::Scope::Route,
        };
        let mode = match breaker.mode {
            BreakerMode::Enforce => v1::breaker::Mode::Enforce,
            BreakerMode::Observe => v1::breaker::Mode::Observe,
        };
        let forced = match breaker.forced {
            Forced::No => v1::breaker::Forced::NotForced,
            Forced::Open => v1::breaker::Forced::Open,
            Forced::Closed => v1::breaker::Forced::Closed,
        };
        Self {
            scope: scope as i32,
            mode: mode as i32,
            forced: forced as i32,
            window_ms: to_millis(breaker.window),
            min_requests: breaker.min_requests,
            failure_percent: breaker.failure_percent.get().into(),
            slow_call_ms: to_millis(breaker.slow_call),
            slow_percent: breaker.slow_percent.get().into(),
            open_ms: to_millis(breaker.open_for),
            open_max_ms: to_millis(breaker.open_for_max),
            half_open_permits: breaker.half_open_permits.into(),
            half_open_max_wait_ms: to_millis(breaker.half_open_max_wait),
        }
    }
}

fn decode_breaker(message: &v1::Breaker) -> Decoded<Breaker> {
    let unknown =
        |field: &str, found: i32| DecodeError::at(field, found, "a value of this version");
    let permits = u8::try_from(message.half_open_permits)
        .ok()
        .filter(|n| (1..=15).contains(n));
    Ok(Breaker {
        scope: match v1::breaker::Scope::try_from(message.scope) {
            Ok(v1::breaker::Scope::Service) => BreakerScope::Service,
            Ok(v1::breaker::Scope::Route) => BreakerScope::Route,
            Err(_) => return Err(unknown("scope", message.scope)),
        },
        mode: match v1::breaker::Mode::try_from(message.mode) {
            Ok(v1::breaker::Mode::Enforce) => BreakerMode::Enforce,
            Ok(v1::breaker::Mode::Observe) => BreakerMode::Observe,
            Err(_) => return Err(unknown("mode", message.mode)),
        },
        forced: match v1::breaker::Forced::try_from(message.forced) {
            Ok(v1::breaker::Forced::NotForced) => Forced::No,
            Ok(v1::breaker::Forced::Open) => Forced::Open,
            Ok(v1::breaker::Forced::Closed) => Forced::Closed,
            Err(_) => return Err(unknown("forced", message.forced)),
        },
        window: positive_millis("window_ms", message.window_ms)?,
        min_requests: message.min_requests,
        failure_percent: percent("failure_percent", message.failure_percent)?,
        slow_call: positive_millis("slow_call_ms", message.slow_call_ms)?,
        slow_percent: percent("slow_percent", message.slow_percent)?,
        open_for: positive_millis("open_ms", message.open_ms)?,
        open_for_max: positive_millis("open_max_ms", message.open_max_ms)?,
        half_open_permits: permits.ok_or_else(|| {
            DecodeError::at("half_open_permits", message.half_open_permits, "1 to 15")
        })?,
        half_open_max_wait: positive_millis(
            "half_open_max_wait_ms",
            message.half_open_max_wait_ms,
        )?,
    })
}

impl From<&Fallback> for v1::Fallback {
    fn from(fallback: &Fallback) -> Self {
        let target = match &fallback.target {
            FallbackTarget::Service(target) => v1::fallback::Target::Service(target.into()),
            FallbackTarget::Response(response) => v1::fallback::Target::Response(response.into()),
        };
        Self {
            on_open: fallback.on_open,
            on_no_endpoint: fallback.on_no_endpoint,
            on_exhausted: fallback.on_exhausted,
            repeatable: fallback.repeatable,
            target: Some(target),
        }
    }
}

fn decode_fallback(message: v1::Fallback) -> Decoded<Fallback> {
    Ok(Fallback {
        on_open: message.on_open,
        on_no_endpoint: message.on_no_endpoint,
        on_exhausted: message.on_exhausted,
        repeatable: message.repeatable,
        target: match required("target", message.target)? {
            v1::fallback::Target::Service(target) => {
                FallbackTarget::Service(decode_target(&target)?)
            }
            v1::fallback::Target::Response(response) => {
                FallbackTarget::Response(decode_static(response).map_err(|e| e.under("response"))?)
            }
        },
    })
}

impl From<&StaticResponse> for v1::StaticResponse {
    fn from(response: &StaticResponse) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            status: response.status.as_u16().into(),
            headers: response
                .headers
                .iter()
                .map(|(n, v)| (n.to_string(), text(v)))
                .collect(),
            body: response.body.clone(),
        }
    }
}

fn decode_static(message: v1::StaticResponse) -> Decoded<StaticResponse> {
    if message.body.len() > STATIC_BODY_MAX {
        return Err(DecodeError::at(
            "body",
            message.body.len(),
            "at most 65536 bytes",
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in message.headers {
        let name = decode_header_name("headers", &name)?;
        let value = HeaderValue::from_str(&value)
            .map_err(|_| DecodeError::at("headers", &value, "a header value"))?;
        headers.insert(name, value);
    }
    Ok(StaticResponse {
        status: decode_status(message.status)?,
        headers,
        body: message.body,
    })
}
