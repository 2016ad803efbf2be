//! Fallback: when the primary cannot answer, who does, and how the answer says so.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Response};
use usher_config::model::{FallbackTarget, ServiceTarget, TrafficPolicy};

use crate::{
    clock,
    error::{Flag, ProxyError},
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
    let mut response = match target {
        FallbackTarget::Response(answer) => {
            flag(&called, record);
            error_response::fixed(answer)
        }
        FallbackTarget::Service(target) => {
            let Some(stand_in) = stand_in(worker, plan, target, (outgoing, record)).await else {
                // The primary's own words say more than that nobody could stand in for it.
                return called.result;
            };
            flag(&called, record);
            // Its answer would hold the request's body; and nobody is there any more.
            drop(called);
            record.settlement.place = None;
            Box::pin(by_service(worker, &stand_in, outgoing, record)).await?
        }
    };
    record.flags.set(Flag::Fb);
    record.policy = Some(policy.name.clone());
    if !response.status().is_server_error() {
        let fallbacks = &plan.target.metrics.fallbacks;
        fallbacks.add(worker.index, cause.as_str());
    }
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

/// Why the primary did not answer; the fallback's flag comes second.
fn flag(called: &Called, record: &mut Record) {
    if let Err(error) = &called.result {
        record.flags.set(error.flag());
    }
}

/// The other service, with a place there; `None`: there is no time left for it, or it could only refuse.
async fn stand_in(
    worker: &Rc<Worker>,
    primary: &Plan,
    target: &ServiceTarget,
    (outgoing, record): (&Outgoing, &mut Record),
) -> Option<Plan> {
    let service = if target.service == primary.target.model.name {
        primary.target.clone()
    } else {
        discover::by_name(worker, &target.service).await.ok()?
    };
    let is_late = outgoing.deadline.remaining(clock::now()) == Some(Duration::ZERO);
    if is_late || service.port(target.port)?.group.eligible() == 0 {
        return None;
    }
    let most = service.model.policy.limits.max_concurrent_requests;
    let place = service.running.load.requests.enter(most)?;
    record.settlement.fallback_place = Some(place);
    Some(Plan {
        treatment: Arc::clone(&service.treatment),
        target: service,
        port: target.port,
        only: None,
    })
}

/// The other service by its own rules, but without its breaker and fallback: this is the last resort.
async fn by_service(
    worker: &Rc<Worker>,
    stand_in: &Plan,
    outgoing: &mut Outgoing,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    outgoing.forget_backend();
    let head = &outgoing.head;
    let retry = &stand_in.treatment.policy.retry;
    let theirs = RequestTraits::of(retry, &head.method, head.uri.path(), &head.headers);
    outgoing.traits = outgoing.traits.both(theirs);
    call(worker, stand_in, outgoing, record).await.result
}
