//! One request to one service: attempts, each on another endpoint, until one is good or no more is allowed.
//!
//! Knows what may be repeated only through `policy::retry`; whether a failure counts against an endpoint
//! only through `balance`. Breaker and fallback see the whole call, not its attempts.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{Response, request};
use smallvec::SmallVec;
use tokio::time::{Instant, sleep_until, timeout_at};
use usher_config::value::Port;

use crate::{
    balance::{self, NoPick, Observation, Pick, affinity},
    clock::{self, Tick},
    error::{Flag, Limit, ProxyError},
    http::{Body, Replay, peek::take_whole},
    policy::{
        breaker::Outcome,
        retry::{self, AttemptFailure, Decision, GiveUp, RequestTraits},
        timeout::{Deadline, SetBy},
    },
    snapshot::{PortEntry, ServiceEntry, Treatment},
    worker::{Record, Worker, tell_endpoint},
};

use super::{
    attempt::{Aim, attempt},
    judge::Attempted,
};

/// Where a request goes and how it is treated on the way.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose endpoints.
    pub target: Arc<ServiceEntry>,
    /// Which of its ports.
    pub port: Port,
    /// By which rules.
    pub treatment: Arc<Treatment>,
    /// The endpoint that its caller chose, by position; `None`: ours is the choice.
    pub only: Option<usize>,
}

/// A request that can be sent several times.
#[derive(Debug)]
pub struct Outgoing {
    /// As every attempt has it, but for its number and deadline.
    pub head: request::Parts,
    /// The same before the backend's own filters, where they changed it: for whoever stands in.
    pub before_backend: Option<Box<request::Parts>>,
    /// `None`: it has none.
    pub body: Option<Replay>,
    /// What it is like.
    pub traits: RequestTraits,
    /// When the response's head must be there.
    pub deadline: Deadline,
}

impl Outgoing {
    /// From now on it goes to somebody else than the route's backend.
    pub fn forget_backend(&mut self) {
        if let Some(head) = self.before_backend.take() {
            self.head = *head;
        }
    }

    /// Nobody will send it again: what was kept of its body for that can go.
    pub fn release(&self) {
        if let Some(body) = &self.body {
            body.release();
        }
    }
}

impl Outgoing {
    fn failed(&self, failure: AttemptFailure, number: u32, record: &Record) -> retry::Attempt {
        retry::Attempt {
            traits: self.traits,
            number,
            failure,
            body_replayable: self.body.as_ref().is_none_or(Replay::is_possible),
            trial: record.settlement.is_trial(),
            remaining: self.deadline.remaining(clock::now()),
        }
    }

    /// Why it ends when its time is over.
    pub fn expired(&self, plan: &Plan) -> ProxyError {
        match self.deadline {
            Deadline::At {
                set_by: SetBy::Policy,
                ..
            } => {
                let limit = plan.treatment.policy.timeouts.request.unwrap_or_default();
                ProxyError::RequestTimeout { limit }
            }
            Deadline::At { .. } | Deadline::None | Deadline::Expired => ProxyError::DeadlineExpired,
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct Called {
    /// The answer, or why there is none.
    pub result: Result<Response<Body>, ProxyError>,
    /// In a breaker's eyes; `None`: not known before the trailers.
    pub outcome: Option<Outcome>,
    /// No attempt can have had an effect.
    pub all_unprocessed: bool,
}

impl Called {
    /// No attempt was made.
    pub fn refused(error: ProxyError) -> Self {
        Self {
            result: Err(error),
            outcome: Some(Outcome::Ignored),
            all_unprocessed: true,
        }
    }
}

/// Makes the call.
pub async fn call(
    worker: &Rc<Worker>,
    plan: &Plan,
    outgoing: &Outgoing,
    record: &mut Record,
) -> Called {
    let Some(port) = plan.target.port(plan.port) else {
        return Called::refused(no_such_port(plan));
    };
    plan.target.mark_used();
    plan.treatment.budget.deposit(worker.index, clock::now());
    let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
    let mut number = 0;
    let mut all_unprocessed = true;
    let mut earlier: Option<Failed> = None;
    let key = kept_together(plan, &outgoing.head, record);
    loop {
        let began = clock::now();
        let chance = key.unwrap_or_else(|| worker.random());
        let mut pick = match pick((plan, port), outgoing, (began, chance), &tried) {
            Ok(pick) => pick,
            Err(refusal) => return or_earlier(worker, plan, earlier, refusal, all_unprocessed),
        };
        tried.push(pick.position);
        number += 1;
        let aim = Aim {
            plan,
            port,
            position: pick.position,
            decides: pick.attempt.is_probe() || record.settlement.is_trial(),
        };
        let (attempted, headed) = attempt(worker, aim, outgoing, record, number).await;
        if is_refused(&attempted) {
            record.no_attempt();
        }
        if plan.only.is_none() && is_full(&attempted) && tried.len() < port.group.eligible() {
            number -= 1;
            continue;
        }
        let waited = headed.since(record.began());
        record.settlement.response_time(waited);
        if let Err(refusal @ ProxyError::Overflow { .. }) = &attempted.result
            && earlier.is_some()
        {
            return or_earlier(worker, plan, earlier, refusal.clone(), all_unprocessed);
        }
        learn(worker, plan, &attempted, &mut pick.attempt, (began, headed));
        let failure = attempted.failure;
        all_unprocessed &= failure == Some(AttemptFailure::ProvablyUnprocessed);
        let again = failure.and_then(|failure| {
            let failed = outgoing.failed(failure, number, record);
            wait_before_retry(worker, plan, &failed, record)
        });
        let Some(wait) = again else {
            let took = headed.since(began);
            keep(plan, &attempted, (pick.attempt, took), record);
            return Called {
                result: attempted.result,
                outcome: attempted.outcome,
                all_unprocessed,
            };
        };
        // Its place at the endpoint is free; what it came to is kept in case no other attempt comes about.
        drop(pick);
        earlier = Some(Failed {
            result: settle(attempted.result, outgoing, wait).await,
            outcome: attempted.outcome,
        });
    }
}

fn no_such_port(plan: &Plan) -> ProxyError {
    ProxyError::NoSuchPort {
        service: plan.target.model.name.clone(),
        port: Some(plan.port),
        known: plan.target.port_numbers(),
    }
}

/// Which endpoint is next: the one that the caller dialled, or the best that is not in `tried`. None if no time is left:
/// who is asked then can only be late.
fn pick(
    (plan, port): (&Plan, &PortEntry),
    outgoing: &Outgoing,
    (now, chance): (Tick, u64),
    tried: &[usize],
) -> Result<Pick, ProxyError> {
    if outgoing.deadline.remaining(now) == Some(Duration::ZERO) {
        return Err(outgoing.expired(plan));
    }
    let picked = match plan.only {
        Some(position) => balance::exactly(&port.group, position),
        None => balance::choose(&port.group, now, chance, tried),
    };
    picked.map_err(|refusal| no_pick(refusal, &plan.target))
}

/// Here, by a limit: nobody was asked.
fn is_refused(attempted: &Attempted) -> bool {
    matches!(attempted.result, Err(ProxyError::Overflow { .. }))
}

fn is_full(attempted: &Attempted) -> bool {
    let error = attempted.result.as_ref().err();
    error.is_some_and(ProxyError::endpoint_is_full)
}

/// A response's load at its endpoint lasts until it has passed.
fn keep(
    plan: &Plan,
    attempted: &Attempted,
    (attempt, took): (balance::Attempt, Duration),
    record: &mut Record,
) {
    if attempted.result.is_ok() {
        let open = attempted.seen.is_none().then_some(took);
        let service = plan.target.clone();
        record.settlement.keep_attempt(attempt, service, open);
    }
}

/// The hash of what the request shares with others that go to the same endpoint.
fn kept_together(plan: &Plan, head: &request::Parts, record: &Record) -> Option<u64> {
    let by = &plan.target.model.policy.load_balancer.hash;
    let query = head.uri.query().unwrap_or_default();
    affinity::key(by, &head.headers, query, record.caller())
}

/// What an attempt came to that is to be followed by another one.
struct Failed {
    /// `None`: an answer that was not whole in time, and is gone.
    result: Option<Result<Response<Body>, ProxyError>>,
    outcome: Option<Outcome>,
}

/// Longest body of a failed answer that is kept while another attempt is made: an explanation, not a document.
const EXPLANATION_MAX: usize = 16 * 1024;

/// Frees what the attempt held, and waits until the next one is due. Its answer would hold the request's body and a window that others share, and die
/// with the next attempt: it is kept whole and apart from its connection, or not at all.
async fn settle(
    result: Result<Response<Body>, ProxyError>,
    outgoing: &Outgoing,
    wait: Duration,
) -> Option<Result<Response<Body>, ProxyError>> {
    let until = Instant::now() + wait;
    if let Some(body) = &outgoing.body {
        body.pause();
    }
    let settled = match result {
        Err(error) => Some(Err(error)),
        Ok(response) => {
            let (head, body) = response.into_parts();
            let body = timeout_at(until, take_whole(body, EXPLANATION_MAX)).await;
            body.ok()
                .flatten()
                .map(|body| Ok(Response::from_parts(head, body)))
        }
    };
    if let Some(body) = &outgoing.body {
        body.end_attempt();
    }
    if wait > Duration::ZERO {
        sleep_until(until).await;
    }
    settled
}

/// A retry that this proxy itself refuses changes nothing about the failure that it was for: caller, breaker and
/// fallback see that one. Only if its answer is gone does the caller hear of the refusal.
fn or_earlier(
    worker: &Worker,
    plan: &Plan,
    earlier: Option<Failed>,
    refusal: ProxyError,
    all_unprocessed: bool,
) -> Called {
    match earlier {
        None => Called {
            all_unprocessed,
            ..Called::refused(refusal)
        },
        Some(Failed { result, outcome }) => {
            plan.target.metrics.retries.add(worker.index, "refused");
            Called {
                result: result.unwrap_or(Err(refusal)),
                outcome,
                all_unprocessed,
            }
        }
    }
}

/// Metric and endpoint state, after an attempt.
pub(super) fn learn(
    worker: &Worker,
    plan: &Plan,
    attempted: &Attempted,
    attempt: &mut balance::Attempt,
    (began, now): (Tick, Tick),
) {
    count_attempt(worker, plan, &attempted.result);
    if let Some(outcome) = attempted.seen {
        let response_time = now.since(began);
        let seen = Observation {
            outcome,
            response_time,
            now,
            random: worker.random(),
        };
        tell_endpoint(worker, &plan.target, attempt, &seen);
    }
}

/// `None`: the failure is final.
fn wait_before_retry(
    worker: &Worker,
    plan: &Plan,
    attempt: &retry::Attempt,
    record: &mut Record,
) -> Option<Duration> {
    let retries = &plan.target.metrics.retries;
    match retry::decide(&plan.treatment.policy.retry, attempt, worker.random()) {
        Decision::Retry { after } if plan.treatment.budget.withdraw(clock::now()) => {
            retries.add(worker.index, "retried");
            Some(after)
        }
        Decision::Retry { .. } => {
            retries.add(worker.index, "budget_spent");
            record.flags.set(Flag::Rb);
            None
        }
        Decision::GiveUp(reason) => {
            retries.add(worker.index, reason.as_str());
            if reason == GiveUp::AttemptsSpent && attempt.number > 1 {
                record.flags.set(Flag::Urx);
            }
            None
        }
    }
}

/// Nobody was chosen: why, to whoever asked.
pub fn no_pick(refusal: NoPick, target: &ServiceEntry) -> ProxyError {
    let service = target.model.name.clone();
    match refusal {
        NoPick::NoEndpoint => ProxyError::NoEndpoint { service },
        NoPick::AllFull => ProxyError::Overflow {
            service,
            limit: Limit::ConcurrentRequestsPerEndpoint,
            most: Limit::ConcurrentRequestsPerEndpoint.of(&target.model.policy.limits),
        },
    }
}

fn count_attempt(worker: &Worker, plan: &Plan, result: &Result<Response<Body>, ProxyError>) {
    let outcome = match result {
        Ok(response) if response.status().is_server_error() => "5xx",
        Ok(response) if response.status().is_client_error() => "4xx",
        Ok(_) => "ok",
        Err(error) => error.flag().as_str(),
    };
    plan.target.metrics.attempts.add(worker.index, outcome);
}
