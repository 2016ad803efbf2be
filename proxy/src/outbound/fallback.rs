//! Fallback: when the primary cannot answer, who does, and how the answer says so.

use std::{rc::Rc, sync::Arc};

use http::{HeaderValue, Response};
use usher_config::model::{FallbackTarget, ServiceTarget, TrafficPolicy};

use crate::{
    error::{Flag, Limit, ProxyError},
    http::{Body, Replay, error_response, headers},
    policy::{
        breaker::Outcome,
        fallback::{self, Cause},
        retry::RequestTraits,
    },
    upstream::call::{Called, Outgoing, Plan, call},
    worker::{Record, Worker},
};

use super::discover;

/// What an open breaker would have come to.
pub(super) fn instead_of_refusal(policy: &TrafficPolicy) -> &'static str {
    match fallback::decide(policy.fallback.as_ref(), Cause::Open) {
        Some(_) => "fallback",
        None => "refused",
    }
}

/// The primary's answer if there is one, or no fallback for its failure; else the fallback's.
pub(super) async fn or_fallback(
    worker: &Rc<Worker>,
    plan: &Plan,
    outgoing: &mut Outgoing,
    called: Called,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let policy = &plan.treatment.policy;
    let Some(cause) = cause(&called, outgoing) else {
        return called.result;
    };
    let Some(target) = fallback::decide(policy.fallback.as_ref(), cause) else {
        return called.result;
    };
    if outgoing
        .body
        .as_ref()
        .is_some_and(|body| !Replay::is_possible(body))
    {
        return called.result;
    }
    if let Err(error) = &called.result {
        // Why the primary did not answer; the fallback's flag comes second.
        record.flags.set(error.flag());
    }
    record.flags.set(Flag::Fb);
    record.policy = Some(policy.name.clone());
    plan.target
        .metrics
        .fallbacks
        .add(worker.index, cause.as_str());
    let mut response = match target {
        FallbackTarget::Response(answer) => error_response::fixed(answer),
        FallbackTarget::Service(target) => {
            drop(called);
            outgoing.forget_backend();
            Box::pin(by_service(worker, plan, target, outgoing, record)).await?
        }
    };
    if let Ok(name) = HeaderValue::from_str(&policy.name) {
        response.headers_mut().insert(headers::FALLBACK, name);
    }
    Ok(response)
}

fn cause(called: &Called, outgoing: &Outgoing) -> Option<Cause> {
    match &called.result {
        Err(ProxyError::BreakerOpen { .. }) => Some(Cause::Open),
        Err(ProxyError::NoEndpoint { .. }) if called.all_unprocessed => Some(Cause::NoEndpoint),
        _ if called.outcome == Some(Outcome::Failure) => Some(Cause::Exhausted {
            idempotent: outgoing.traits.idempotent,
            all_unprocessed: called.all_unprocessed,
        }),
        _ => None,
    }
}

/// The other service by its own rules, but without its breaker and fallback: this is the last resort.
async fn by_service(
    worker: &Rc<Worker>,
    primary: &Plan,
    target: &ServiceTarget,
    outgoing: &mut Outgoing,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let service = if target.service == primary.target.model.name {
        primary.target.clone()
    } else {
        discover::by_name(worker, &target.service).await?
    };
    let most = service.model.policy.limits.max_concurrent_requests;
    let place = service.running.load.requests.enter(most);
    record.settlement.fallback_place = Some(place.ok_or_else(|| ProxyError::Overflow {
        service: service.model.name.clone(),
        limit: Limit::ConcurrentRequests,
    })?);
    let retry = &service.treatment.policy.retry;
    let head = &outgoing.head;
    let theirs = RequestTraits::of(retry, &head.method, head.uri.path(), &head.headers);
    outgoing.traits = outgoing.traits.both(theirs);
    let plan = Plan {
        treatment: Arc::clone(&service.treatment),
        target: service,
        port: target.port,
        only: None,
    };
    call(worker, &plan, outgoing, record).await.result
}
