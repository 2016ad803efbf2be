//! One attempt at one endpoint: counted while it lasts, learned from when it ends.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use usher_config::model::Ejection;

use crate::clock::Tick;

use super::{EndpointState, ejection::Change};

/// An attempt under way. Record its outcome; dropped without, it counts for nothing, and a probe may be
/// made again by the next who asks.
#[must_use = "record the outcome; dropping means the attempt was cancelled"]
pub struct Attempt {
    state: Arc<EndpointState>,
    probe: bool,
}

/// How an attempt ended, in the eyes of balancing and ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The endpoint answered well.
    Success,
    /// It sheds load: 429, gRPC RESOURCE_EXHAUSTED. Costs it requests, never ejects it.
    Overloaded {
        /// What it asked for.
        retry_after: Option<Duration>,
    },
    /// 5xx and its gRPC kin, resets, timeouts, connect and TLS errors.
    Failure {
        /// What it asked for.
        retry_after: Option<Duration>,
    },
    /// Nothing was learned: the caller went away, or the endpoint refused this stream by the rules (GOAWAY).
    Ignored,
}

impl AttemptOutcome {
    /// 5xx (and 429, as overload) are bad; everything else is good.
    pub fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Self {
        match status.as_u16() {
            429 => Self::Overloaded { retry_after },
            500.. => Self::Failure { retry_after },
            _ => Self::Success,
        }
    }

    /// UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS (and RESOURCE_EXHAUSTED, as overload).
    pub fn of_grpc(code: u8, pushback: Option<Duration>) -> Self {
        match code {
            8 => Self::Overloaded {
                retry_after: pushback,
            },
            2 | 4 | 13 | 14 | 15 => Self::Failure {
                retry_after: pushback,
            },
            _ => Self::Success,
        }
    }
}

/// What was seen when an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// From choice to response headers: what the caller waited for this endpoint.
    pub response_time: Duration,
    /// When it ended.
    pub now: Tick,
    /// For the ejection's jitter.
    pub random: u64,
}

impl Observation {
    /// A response time, or a failure's `Retry-After`; `None`: nothing to learn.
    pub(super) fn sample(&self) -> Option<Result<Duration, Option<Duration>>> {
        match self.outcome {
            AttemptOutcome::Success => Some(Ok(self.response_time)),
            AttemptOutcome::Overloaded { retry_after }
            | AttemptOutcome::Failure { retry_after } => Some(Err(retry_after)),
            AttemptOutcome::Ignored => None,
        }
    }

    /// Whether it counts for or against ejection; `None`: neither.
    pub(super) fn failed(&self) -> Option<bool> {
        match self.outcome {
            // Shedding load is an answer: it ends a row of failures.
            AttemptOutcome::Success | AttemptOutcome::Overloaded { .. } => Some(false),
            AttemptOutcome::Failure { .. } => Some(true),
            AttemptOutcome::Ignored => None,
        }
    }
}

impl Attempt {
    /// The endpoint must have counted it in already.
    pub(super) fn new(state: Arc<EndpointState>, probe: bool) -> Self {
        Self { state, probe }
    }

    /// Whether it decides an ejected endpoint's return.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Tells how it ended; the load it stands for lasts until the attempt is dropped, that is until its
    /// response has passed. Call once; further calls teach speed and failures again.
    pub fn record(&mut self, seen: &Observation, settings: Option<&Ejection>) -> Option<Change> {
        seen.failed()?;
        let probe = std::mem::take(&mut self.probe);
        self.state.learn(seen, probe, settings)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.state.leave();
        if self.probe {
            self.state.cancel_probe();
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}
