//! One request to one service: attempts, each on another endpoint, until one is good or no more is allowed.
//!
//! Knows what may be repeated only through `policy::retry`; whether a failure counts against an endpoint
//! only through `balance`. Breaker and fallback see the whole call, not its attempts.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, request};
use smallvec::SmallVec;
use tokio::time::{sleep, timeout};
use usher_config::{model::Protocol, value::Port};

use crate::{
    balance::{self, AttemptOutcome, NoPick, Observation},
    clock::{self, Tick},
    error::{Flag, Limit, Processing, ProxyError},
    http::{Body, Replay, headers::REASON, peek::peek},
    policy::{
        breaker::Outcome,
        retry::{self, ATTEMPT, AttemptFailure, Decision, GiveUp, Pushback, RequestTraits},
        timeout::{self as deadline, Deadline, SetBy},
    },
    snapshot::{PortEntry, ServiceEntry, Treatment},
    worker::{Record, Worker, grpc_status, tell_endpoint},
};

use super::dial::{self, Callee, Version};

/// Where a request goes and how it is treated on the way.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose endpoints.
    pub target: Arc<ServiceEntry>,
    /// Which of its ports.
    pub port: Port,
    /// By which rules.
    pub treatment: Arc<Treatment>,
}

/// A request that can be sent several times.
#[derive(Debug)]
pub struct Outgoing {
    /// As every attempt has it, but for its number and deadline.
    pub head: request::Parts,
    /// `None`: it has none.
    pub body: Option<Replay>,
    /// What it is like.
    pub traits: RequestTraits,
    /// When the response's head must be there.
    pub deadline: Deadline,
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

/// What one attempt came to.
struct Attempted {
    result: Result<Response<Body>, ProxyError>,
    /// For the endpoint; `None`: the trailers will say.
    seen: Option<AttemptOutcome>,
    /// For the retry rule; `None`: good, or beyond repair.
    failure: Option<AttemptFailure>,
    /// For the breaker; `None`: the trailers will say.
    outcome: Option<Outcome>,
}

/// Makes the call.
pub async fn call(
    worker: &Rc<Worker>,
    plan: &Plan,
    outgoing: &Outgoing,
    record: &mut Record,
) -> Called {
    let Some(port) = plan.target.port(plan.port) else {
        let service = plan.target.model.name.clone();
        return Called::refused(ProxyError::NoSuchPort {
            service,
            port: Some(plan.port),
        });
    };
    plan.target.mark_used();
    let policy = &plan.treatment.policy;
    plan.treatment.budget.deposit(worker.index, clock::now());
    let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
    let mut all_unprocessed = true;
    loop {
        let began = clock::now();
        let mut pick = match balance::choose(&port.group, began, worker.random(), &tried) {
            Ok(pick) => pick,
            Err(refusal) => return Called::refused(no_pick(refusal, &plan.target)),
        };
        tried.push(pick.position);
        let number = u32::try_from(tried.len()).unwrap_or(u32::MAX);
        let attempted = attempt(
            worker,
            (plan, port, pick.position),
            outgoing,
            record,
            number,
        )
        .await;
        let Attempted {
            result,
            seen,
            failure,
            outcome,
        } = attempted;
        let now = clock::now();
        let response_time = now.since(began);
        count_attempt(worker, plan, &result);
        if let Some(outcome) = seen {
            let seen = Observation {
                outcome,
                response_time,
                now,
                random: worker.random(),
            };
            tell_endpoint(worker, &plan.target, &mut pick.attempt, &seen);
        }
        all_unprocessed &= failure == Some(AttemptFailure::ProvablyUnprocessed);
        let again = failure.and_then(|failure| {
            let attempt = retry::Attempt {
                traits: outgoing.traits,
                number,
                failure,
                body_replayable: outgoing.body.as_ref().is_none_or(Replay::is_possible),
                trial: record.settlement.is_trial(),
                remaining: outgoing.deadline.remaining(now),
            };
            wait_before_retry(worker, plan, &attempt, record)
        });
        let Some(wait) = again else {
            record.settlement.response_time(now.since(record.began()));
            if result.is_ok() {
                record
                    .settlement
                    .keep_attempt(pick.attempt, plan.target.clone(), seen.is_none());
            }
            return Called {
                result,
                outcome,
                all_unprocessed,
            };
        };
        debug_assert!(
            tried.len() <= 1 + policy.retry.attempts as usize,
            "the retry rule bounds attempts"
        );
        drop((result, pick));
        if wait > Duration::ZERO {
            sleep(wait).await;
        }
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

async fn attempt(
    worker: &Rc<Worker>,
    (plan, port, position): (&Plan, &PortEntry, usize),
    outgoing: &Outgoing,
    record: &mut Record,
    number: u32,
) -> Attempted {
    let policy = &plan.treatment.policy;
    let Some(endpoint) = plan.target.endpoints.get(position) else {
        return Attempted::over(ProxyError::Internal {
            what: "chosen endpoint is not in its snapshot",
        });
    };
    let address = endpoint.model.address;
    let now = clock::now();
    record.attempt(address, now);
    let limit = outgoing
        .deadline
        .attempt(policy.timeouts.backend_request, now);
    let Some(request) = outgoing.request(number, now) else {
        return Attempted::over(ProxyError::Internal {
            what: "a body was repeated that is gone",
        });
    };
    let callee = Callee {
        service: &plan.target,
        port,
        endpoint,
        connect: policy.timeouts.connect,
    };
    let exchange = async {
        let response = if endpoint.model.meshed {
            dial::through_mesh(worker, callee, request, record).await?
        } else {
            let version = version(plan, outgoing.traits.grpc);
            dial::in_plaintext(worker, callee, version, request).await?
        };
        if holds_back(plan, outgoing, &response) {
            first_frame(response).await
        } else {
            Ok((response, None))
        }
    };
    let result = match limit {
        None => exchange.await,
        Some(limit) => match timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(outgoing.timed_out(plan, address, limit)),
        },
    };
    judge(result, plan, outgoing)
}

impl Outgoing {
    /// The request as this attempt sends it; `None`: its body is gone.
    fn request(&self, number: u32, now: Tick) -> Option<Request<Body>> {
        let body = match &self.body {
            None => Body::Empty,
            Some(replay) => Body::Replay(replay.attempt()?),
        };
        let mut request = Request::from_parts(self.head.clone(), body);
        let headers = request.headers_mut();
        let number = number + u32::from(self.traits.nested);
        let number = if number == 1 {
            HeaderValue::from_static("1")
        } else {
            HeaderValue::from(number)
        };
        headers.insert(ATTEMPT, number);
        deadline::write(headers, self.deadline.remaining(now), self.traits.grpc);
        Some(request)
    }

    /// The endpoint's sidecar gave up just before we would have: the deadline that it was told is ours.
    fn expired_further_on(&self, plan: &Plan, response: &Response<Body>) -> Option<ProxyError> {
        let reason = response.headers().get(REASON)?.as_bytes();
        let Deadline::At { set_by, .. } = self.deadline else {
            return None;
        };
        if !reason.starts_with(b"DE ") {
            return None;
        }
        Some(match set_by {
            SetBy::Caller => ProxyError::DeadlineExpired,
            SetBy::Policy => {
                let limit = plan.treatment.policy.timeouts.request.unwrap_or_default();
                ProxyError::RequestTimeout { limit }
            }
        })
    }

    fn timed_out(
        &self,
        plan: &Plan,
        endpoint: std::net::SocketAddr,
        limit: Duration,
    ) -> ProxyError {
        match self.deadline {
            Deadline::At { tick, set_by } if tick <= clock::now() => match set_by {
                SetBy::Caller => ProxyError::DeadlineExpired,
                SetBy::Policy => {
                    let limit = plan.treatment.policy.timeouts.request.unwrap_or(limit);
                    ProxyError::RequestTimeout { limit }
                }
            },
            Deadline::At { .. } | Deadline::None | Deadline::Expired => {
                ProxyError::AttemptTimeout { endpoint, limit }
            }
        }
    }
}

/// Without a sidecar the endpoint's own protocol counts; undeclared, the request's.
fn version(plan: &Plan, grpc: bool) -> Version {
    match plan
        .target
        .model
        .port(plan.port.get())
        .map(|port| port.protocol)
    {
        Some(Protocol::Http2 | Protocol::Grpc) => Version::Http2,
        Some(Protocol::Detect) | None if grpc => Version::Http2,
        Some(Protocol::Detect | Protocol::Http1 | Protocol::Tcp) | None => Version::Http1,
    }
}

/// Whether the trailers could still make us ask somebody else.
fn holds_back(plan: &Plan, outgoing: &Outgoing, response: &Response<Body>) -> bool {
    let policy = &plan.treatment.policy;
    let retried = !policy.retry.grpc_statuses.is_empty() && outgoing.traits.repeatable;
    let replaced = policy
        .fallback
        .as_ref()
        .is_some_and(|fallback| fallback.on_exhausted);
    outgoing.traits.grpc && (retried || replaced) && grpc_status(response.headers()).is_none()
}

type Headed = (Response<Body>, Option<u8>);

async fn first_frame(response: Response<Body>) -> Result<Headed, ProxyError> {
    let (head, body) = response.into_parts();
    let (body, trailers) = peek(body).await?;
    let code = trailers.as_ref().and_then(grpc_status);
    Ok((Response::from_parts(head, body), code))
}

impl Attempted {
    /// Nothing to learn and nothing to repeat.
    fn over(error: ProxyError) -> Self {
        let seen = Some(AttemptOutcome::Ignored);
        Self {
            result: Err(error),
            seen,
            failure: None,
            outcome: Some(Outcome::Ignored),
        }
    }
}

fn judge(result: Result<Headed, ProxyError>, plan: &Plan, outgoing: &Outgoing) -> Attempted {
    let (response, late_code) = match result {
        Ok(headed) => headed,
        Err(error) => return judge_error(error),
    };
    if let Some(error) = outgoing.expired_further_on(plan, &response) {
        return judge_error(error);
    }
    let status = response.status();
    let code = late_code.or_else(|| grpc_status(response.headers()));
    let (seen, failure, outcome) = match code {
        Some(code) if outgoing.traits.grpc && status.is_success() => {
            let pushback = Pushback::of(response.headers());
            let after = match pushback {
                Some(Pushback::After(wait)) => Some(wait),
                Some(Pushback::Never) | None => None,
            };
            let failure = (code != 0).then_some(AttemptFailure::GrpcStatus { code, pushback });
            (
                Some(AttemptOutcome::of_grpc(code, after)),
                failure,
                Some(Outcome::of_grpc(code)),
            )
        }
        None if outgoing.traits.grpc && status.is_success() => (None, None, None),
        Some(_) | None => {
            let retry_after = retry::retry_after(response.headers());
            let bad =
                status.is_server_error() || plan.treatment.policy.retry.statuses.contains(&status);
            let failure = bad.then_some(AttemptFailure::Status {
                status,
                retry_after,
            });
            let seen = AttemptOutcome::of_status(status, retry_after);
            (Some(seen), failure, Some(Outcome::of_status(status)))
        }
    };
    Attempted {
        result: Ok(response),
        seen,
        failure,
        outcome,
    }
}

fn judge_error(error: ProxyError) -> Attempted {
    let bad = AttemptOutcome::Failure { retry_after: None };
    let (seen, failure) = match &error {
        ProxyError::ConnectFailed { .. }
        | ProxyError::ConnectTimeout { .. }
        | ProxyError::TlsFailed { .. } => (bad, Some(AttemptFailure::ProvablyUnprocessed)),
        ProxyError::UpstreamReset {
            processing: Processing::Unprocessed,
            ..
        } => (
            AttemptOutcome::Ignored,
            Some(AttemptFailure::ProvablyUnprocessed),
        ),
        ProxyError::IdleRace { .. } => (AttemptOutcome::Ignored, Some(AttemptFailure::IdleRace)),
        ProxyError::AttemptTimeout { .. } => (bad, Some(AttemptFailure::PerTryTimeout)),
        ProxyError::UpstreamReset {
            processing: Processing::Unknown,
            ..
        }
        | ProxyError::UpstreamBrokeOff { .. }
        | ProxyError::UpstreamProtocol { .. } => (bad, Some(AttemptFailure::Reset)),
        ProxyError::RequestTimeout { .. } | ProxyError::DeadlineExpired => (bad, None),
        // The caller's own fault, or ours.
        _ => (AttemptOutcome::Ignored, None),
    };
    let outcome = if seen == bad {
        Outcome::Failure
    } else {
        Outcome::Ignored
    };
    // Connections that close under requests say that the dependency is unwell, though not which endpoint is.
    let outcome = if failure.is_some() {
        Outcome::Failure
    } else {
        outcome
    };
    Attempted {
        result: Err(error),
        seen: Some(seen),
        failure,
        outcome: Some(outcome),
    }
}

fn no_pick(refusal: NoPick, target: &ServiceEntry) -> ProxyError {
    let service = target.model.name.clone();
    match refusal {
        NoPick::NoEndpoint => ProxyError::NoEndpoint { service },
        NoPick::AllFull => ProxyError::Overflow {
            service,
            limit: Limit::ConcurrentRequestsPerEndpoint,
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
