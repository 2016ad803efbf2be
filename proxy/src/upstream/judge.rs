//! What an attempt came to, in the eyes of the endpoint's state, the retry rule and the breaker.

use std::time::Duration;

use http::{HeaderMap, Response};

use crate::{
    balance::AttemptOutcome,
    error::{Processing, ProxyError},
    http::{Body, headers::REASON},
    policy::{
        breaker::Outcome,
        retry::{self, AttemptFailure, Pushback, is_grpc},
    },
    worker::grpc_status,
};

use super::{attempt::Aim, call::Outgoing, http1::IDLED_MIN};

/// What one attempt came to.
pub(super) struct Attempted {
    pub result: Result<Response<Body>, ProxyError>,
    /// For the endpoint; `None`: the trailers will say.
    pub seen: Option<AttemptOutcome>,
    /// For the retry rule; `None`: good, or beyond repair.
    pub failure: Option<AttemptFailure>,
    /// For the breaker; `None`: the trailers will say.
    pub outcome: Option<Outcome>,
}

/// A response that has begun.
pub(super) struct Headed {
    pub response: Response<Body>,
    /// What its trailers said, if they came first.
    pub said: Option<Said>,
    /// It was looked at, and is a stream that goes on: the first message has come, or nothing at all for a while.
    pub under_way: bool,
}

impl Headed {
    /// Not looked at.
    pub(super) fn of(response: Response<Body>) -> Self {
        Self {
            response,
            said: None,
            under_way: false,
        }
    }
}

/// How a gRPC call ended, from whichever headers say so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    code: u8,
    pushback: Option<Pushback>,
}

impl Said {
    /// `None`: they do not.
    pub(super) fn by(headers: &HeaderMap) -> Option<Self> {
        Some(Self {
            code: grpc_status(headers)?,
            pushback: Pushback::of(headers),
        })
    }
}

impl Attempted {
    /// Nothing to learn and nothing to repeat.
    pub(super) fn over(error: ProxyError) -> Self {
        let seen = Some(AttemptOutcome::Ignored);
        Self {
            result: Err(error),
            seen,
            failure: None,
            outcome: Some(Outcome::Ignored),
        }
    }
}

/// Judges.
pub(super) fn judge(
    result: Result<Headed, ProxyError>,
    aim: Aim<'_>,
    outgoing: &Outgoing,
    lasted: Duration,
) -> Attempted {
    let plan = aim.plan;
    let no_answer = |error| {
        if outgoing.excuses(&error, plan, lasted) {
            let failure = judge_error(error.clone()).failure;
            excused(Err(error), failure)
        } else {
            judge_error(error)
        }
    };
    let Headed {
        response,
        said,
        under_way,
    } = match result {
        Ok(headed) => headed,
        Err(error) => return no_answer(error),
    };
    if let Some(error) = outgoing.expired_further_on(plan, &response) {
        return no_answer(error);
    }
    let status = response.status();
    let said = said.or_else(|| Said::by(response.headers()));
    let (seen, failure, outcome) = match said {
        Some(Said { code, pushback }) if outgoing.traits.grpc && status.is_success() => {
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
        // What is no gRPC has no trailers that could say how it went, whatever the request called itself.
        None if outgoing.traits.grpc && status.is_success() && is_grpc(response.headers()) => {
            // A watch says in its trailers how it went, hours later: who waits to be let in again goes by its beginning.
            let well = aim.decides && under_way;
            let seen = well.then_some(AttemptOutcome::Success);
            (seen, None, well.then_some(Outcome::Success))
        }
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
    if outgoing.silent_further_on(&response) {
        return excused(Ok(response), failure);
    }
    Attempted {
        outcome: too_much(&response).or(outcome),
        result: Ok(response),
        seen,
        failure,
    }
}

/// Whether the callee's sidecar has refused it because there were too many: that says how much its caller asks, and not how
/// well the service is. No application can say it, its sidecar would take the mark off.
fn too_much(response: &Response<Body>) -> Option<Outcome> {
    let reason = response.headers().get(REASON);
    let limited = reason.is_some_and(|reason| reason.as_bytes().starts_with(b"RL "));
    limited.then_some(Outcome::Ignored)
}

/// Nothing is learned from it. Whether it is repeated is the retry rule's matter all the same.
fn excused(
    result: Result<Response<Body>, ProxyError>,
    failure: Option<AttemptFailure>,
) -> Attempted {
    Attempted {
        result,
        seen: Some(AttemptOutcome::Ignored),
        failure,
        outcome: Some(Outcome::Ignored),
    }
}

fn judge_error(error: ProxyError) -> Attempted {
    let bad = AttemptOutcome::Failure { retry_after: None };
    let (seen, failure) = match &error {
        ProxyError::ConnectFailed { .. }
        | ProxyError::ConnectTimeout { .. }
        | ProxyError::TlsFailed { .. }
        | ProxyError::RefusedUnseen { .. } => (bad, Some(AttemptFailure::ProvablyUnprocessed)),
        ProxyError::UpstreamReset {
            processing: Processing::Unprocessed,
            ..
        } => (
            AttemptOutcome::Ignored,
            Some(AttemptFailure::ProvablyUnprocessed),
        ),
        ProxyError::IdleRace { idled, .. } if *idled < IDLED_MIN => {
            (bad, Some(AttemptFailure::IdleRace))
        }
        ProxyError::IdleRace { .. } => (AttemptOutcome::Ignored, Some(AttemptFailure::IdleRace)),
        // No endpoint's fault, and the next one's answer is the same.
        ProxyError::Unverifiable { .. } => (AttemptOutcome::Ignored, None),
        ProxyError::AttemptTimeout { .. } => (bad, Some(AttemptFailure::PerTryTimeout)),
        ProxyError::UpstreamReset {
            processing: Processing::Unknown,
            ..
        }
        | ProxyError::UpstreamBrokeOff { .. }
        | ProxyError::UpstreamProtocol { .. } => (bad, Some(AttemptFailure::Reset)),
        ProxyError::RequestTimeout { .. }
        | ProxyError::DeadlineExpired
        | ProxyError::StreamIdle { .. } => (bad, None),
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
