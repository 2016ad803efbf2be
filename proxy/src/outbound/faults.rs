//! Faults made on purpose: before anything is sent, and without breaker, endpoint or budget hearing of it.

use tokio::time::sleep;
use usher_config::model::Fault;

use crate::{
    clock,
    error::{Flag, ProxyError},
    policy::fault::{Injected, decide},
    route,
    upstream::call::{Outgoing, Plan},
    worker::{Record, Worker},
};

/// Delays the request, or ends it, if a fault policy says so.
///
/// # Errors
/// [`ProxyError::FaultInjected`]; the deadline's error if it passes during the delay.
pub(super) async fn inject(
    worker: &Worker,
    plan: &Plan,
    outgoing: &Outgoing,
    record: &mut Record,
) -> Result<(), ProxyError> {
    match &plan.treatment.policy.fault {
        Some(fault) if concerns(fault, outgoing) => {
            Box::pin(suffer(worker, (plan, fault), outgoing, record)).await
        }
        Some(_) | None => Ok(()),
    }
}

fn concerns(fault: &Fault, outgoing: &Outgoing) -> bool {
    let (headers, authority) = (&outgoing.head.headers, outgoing.head.uri.authority());
    let authority = authority.map_or("", http::uri::Authority::as_str);
    route::headers_match(&fault.headers, headers, authority)
}

async fn suffer(
    worker: &Worker,
    (plan, fault): (&Plan, &Fault),
    outgoing: &Outgoing,
    record: &mut Record,
) -> Result<(), ProxyError> {
    let Injected { delay, abort } = decide(fault, clock::wall(), worker.random());
    let injected = &plan.treatment.faults;
    if let Some(delay) = delay {
        injected.add(worker.index, "delay");
        record.flags.set(Flag::Di);
        record.policy = Some(fault.name.clone());
        let left = outgoing.deadline.remaining(clock::now());
        let waits = left.map_or(delay, |left| left.min(delay));
        sleep(waits).await;
        record.settlement.delayed(waits);
        if left.is_some_and(|left| left <= delay) {
            return Err(outgoing.expired(plan));
        }
    }
    let Some(answer) = abort else {
        return Ok(());
    };
    injected.add(worker.index, "abort");
    record.policy = Some(fault.name.clone());
    Err(ProxyError::FaultInjected {
        policy: fault.name.clone(),
        answer,
    })
}
