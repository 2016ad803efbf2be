//! What an exchange owes: an opinion to the breaker and to the endpoint, and its places in the limits.
//!
//! HTTP's verdict is there with the response's head; gRPC's often only in the trailers. Until then the debt
//! is kept here, and paid once.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    balance::{Attempt, AttemptOutcome, Change, Observation},
    clock::Tick,
    error::ProxyError,
    policy::{
        breaker::{Outcome, Permit, Phase, Transition},
        limits::Place,
    },
    snapshot::{BreakerEntry, ServiceEntry},
};

use super::Worker;

/// See the module.
#[derive(Default)]
pub struct Settlement {
    /// A place among the service's requests in flight.
    pub place: Option<Place>,
    /// As `place`, among those of the fallback.
    pub fallback_place: Option<Place>,
    permit: Option<(Permit, BreakerEntry, Arc<ServiceEntry>)>,
    attempt: Option<(Attempt, Arc<ServiceEntry>)>,
    /// The attempt's verdict is still to come: how long its endpoint took until the head.
    attempt_open: Option<Duration>,
    response_time: Duration,
    delayed: Duration,
    broken: bool,
    ignored: bool,
}

impl Settlement {
    /// The breaker's leave, to be answered for.
    pub fn owe_breaker(
        &mut self,
        permit: Permit,
        breaker: BreakerEntry,
        service: Arc<ServiceEntry>,
    ) {
        self.permit = Some((permit, breaker, service));
    }

    /// Whether the exchange is a half-open breaker's trial.
    pub fn is_trial(&self) -> bool {
        self.permit
            .as_ref()
            .is_some_and(|(permit, ..)| permit.is_trial())
    }

    /// How long the caller waited for the response's head: what a slow call is measured by.
    pub fn response_time(&mut self, time: Duration) {
        self.response_time = time.saturating_sub(self.delayed);
    }

    /// We made the caller wait on purpose: no fault of who answers.
    pub fn delayed(&mut self, by: Duration) {
        self.delayed = by;
    }

    /// Keeps the successful attempt: its load lasts until the response has passed. `open`: its verdict will
    /// come with the trailers, and this is how long its endpoint took for the head. Not what the caller waited: earlier
    /// attempts were slow elsewhere.
    pub fn keep_attempt(
        &mut self,
        attempt: Attempt,
        service: Arc<ServiceEntry>,
        open: Option<Duration>,
    ) {
        self.attempt = Some((attempt, service));
        self.attempt_open = open;
    }

    /// The breaker hears now.
    pub fn tell_breaker(&mut self, worker: &Worker, outcome: Outcome, now: Tick) {
        let Some((permit, breaker, service)) = self.permit.take() else {
            return;
        };
        if let Some(transition) = permit.record(outcome, self.response_time, now, worker.random()) {
            announce_breaker(worker, &service, &breaker, transition);
        }
    }

    /// Only what the upstream did speaks against it: callers leave, and this proxy ends streams that are too long or
    /// silent, as its policy says.
    pub(super) fn broke_off(&mut self, error: &ProxyError) {
        match error {
            ProxyError::UpstreamReset { .. }
            | ProxyError::UpstreamBrokeOff { .. }
            | ProxyError::UpstreamProtocol { .. } => self.broken = true,
            _ => self.ignored = true,
        }
    }

    /// Pays what is still owed.
    pub(super) fn at_end(&mut self, worker: &Worker, grpc_status: Option<u8>, now: Tick) {
        if self.ignored && grpc_status.is_none() {
            // Dropped without a word: ended before anybody could tell how it would have gone.
            self.permit = None;
            self.attempt = None;
            return;
        }
        let failed = self.broken || grpc_status.is_none();
        let outcome = match grpc_status {
            Some(code) if !self.broken => Outcome::of_grpc(code),
            _ if failed => Outcome::Failure,
            _ => Outcome::Success,
        };
        self.tell_breaker(worker, outcome, now);
        if let Some((mut attempt, service)) = self.attempt.take()
            && (self.attempt_open.is_some() || self.broken)
        {
            let outcome = match grpc_status {
                Some(code) if !self.broken => AttemptOutcome::of_grpc(code, None),
                _ => AttemptOutcome::Failure { retry_after: None },
            };
            let seen = Observation {
                outcome,
                response_time: self.attempt_open.unwrap_or(self.response_time),
                now,
                random: worker.random(),
            };
            tell_endpoint(worker, &service, &mut attempt, &seen);
        }
    }
}

/// The endpoint's state learns; whoever reads logs and metrics too, if it goes out or comes back.
pub fn tell_endpoint(
    worker: &Worker,
    service: &ServiceEntry,
    attempt: &mut Attempt,
    seen: &Observation,
) {
    let Some(change) = attempt.record(seen, service.model.policy.ejection.as_ref()) else {
        return;
    };
    match change {
        Change::Ejected { lasts } => {
            service.metrics.ejections.add(worker.index, "ejected");
            warn!(service = %service.label, ejected_for = ?lasts, "endpoint ejected");
        }
        Change::Returned => {
            service.metrics.ejections.add(worker.index, "returned");
            info!(service = %service.label, "endpoint returned");
        }
    }
}

/// A breaker's change of phase: metric and log line.
pub fn announce_breaker(
    worker: &Worker,
    service: &ServiceEntry,
    breaker: &BreakerEntry,
    change: Transition,
) {
    let phase = match change.to {
        Phase::Closed => "closed",
        Phase::HalfOpen => "half_open",
        Phase::Open => "open",
    };
    breaker.state.set(change.to.number());
    breaker.transitions.add(worker.index, phase);
    warn!(
        service = %service.label,
        route = %breaker.route,
        phase,
        generation = change.generation,
        lasts = ?change.lasts,
        "breaker changed"
    );
}
