//! A copy of a request to one endpoint of another service. Its answer is dropped.
//!
//! One attempt, never repeated, past breaker and fallback. Bounded in all that it holds: as many at once as
//! [`MIRRORS_MAX`] and the service's own limits say, each with [`crate::http::Tee`]'s bound on its body, and no longer
//! than [`ANSWER_MAX`] after the original's body has passed.

use std::{future::poll_fn, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use http::request;
use http_body::Body as _;
use tokio::time::sleep;
use usher_config::value::Port;

use crate::{
    balance, clock,
    error::ProxyError,
    http::{Body, CopyWatch, Fate, Replay},
    policy::{limits::Place, retry::RequestTraits, timeout::Deadline},
    snapshot::ServiceEntry,
    worker::{Record, Worker},
};

use super::{
    attempt::{Aim, attempt},
    call::{Outgoing, Plan, learn},
};

/// Copies under way at once, per worker: with 64 KiB of body each at most 8 MiB.
pub const MIRRORS_MAX: u32 = 128;

/// For the answer, once the whole request has been sent: as long as a request may take by default.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// The most of an answer's body that is read to keep its connection; the rest is not worth it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A request to be sent beside the original.
#[derive(Debug)]
pub struct Copy {
    /// As the original has it.
    pub head: request::Parts,
    /// As it passes, and what becomes of it; `None`: the request has none.
    pub body: Option<(Body, CopyWatch)>,
    /// The original's.
    pub traits: RequestTraits,
    /// The original's.
    pub deadline: Deadline,
    /// One of [`MIRRORS_MAX`].
    pub place: Place,
}

/// Sends it, and waits for the end. What became of it, for the metric.
pub async fn mirror(
    worker: &Rc<Worker>,
    target: Arc<ServiceEntry>,
    port: Port,
    copy: Copy,
) -> &'static str {
    let (body, watch) = copy.body.unzip();
    let outgoing = Outgoing {
        head: copy.head,
        before_backend: None,
        body: body.map(|body| Replay::new(body, 0)),
        traits: copy.traits,
        deadline: copy.deadline,
    };
    let plan = Plan {
        treatment: target.treatment.clone(),
        target,
        port,
        only: None,
    };
    let given_up = async {
        if let Some(watch) = &watch {
            match watch.fate().await {
                Fate::Cut => return "cut",
                Fate::Lagged => return "lagged",
                Fate::Whole => {}
            }
        }
        sleep(ANSWER_MAX).await;
        "timeout"
    };
    tokio::select! {
        // What is known of the original comes first: a copy that was cut is no failure of its endpoint.
        biased;
        outcome = given_up => outcome,
        outcome = send(worker, &plan, &outgoing) => outcome,
    }
}

async fn send(worker: &Rc<Worker>, plan: &Plan, outgoing: &Outgoing) -> &'static str {
    let Some(port) = plan.target.port(plan.port) else {
        return "no_such_port";
    };
    plan.target.mark_used();
    let most = plan.target.model.policy.limits.max_concurrent_requests;
    let Some(_place) = plan.target.running.load.requests.enter(most) else {
        return "overflow";
    };
    let began = clock::now();
    let Ok(mut pick) = balance::choose(&port.group, began, worker.random(), &[]) else {
        return "no_endpoint";
    };
    let mut record = Record::silent(worker, outgoing.head.method.clone());
    let aim = Aim {
        plan,
        port,
        position: pick.position,
        decides: pick.attempt.is_probe(),
    };
    let (attempted, headed) = attempt(worker, aim, outgoing, &mut record, 1).await;
    let times = (began, headed);
    learn(worker, plan, &attempted, &mut pick.attempt, times);
    match attempted.result {
        Ok(response) if response.status().is_server_error() => {
            drain(response.into_body()).await;
            "5xx"
        }
        Ok(response) => {
            drain(response.into_body()).await;
            "ok"
        }
        Err(ProxyError::Overflow { .. }) => "overflow",
        Err(_) => "failed",
    }
}

/// Reads what is short, so that its connection can go on; drops what is not.
async fn drain(mut body: Body) {
    let mut left = ANSWER_BYTES_MAX;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
