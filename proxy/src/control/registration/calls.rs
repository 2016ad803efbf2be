//! How a control plane is called: within which time, what a failure means, and when to try again.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Status};

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The limit of a request does not bound connecting, which may hang at somebody who takes connections and says nothing.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl AsyncFnOnce(Duration) -> Result<tonic::Response<T>, Status>,
) -> Result<T, Status> {
    let answer = timeout(limit, call(limit)).await;
    let answer = answer.unwrap_or_else(|_| {
        let message = format!("no answer within {limit:?}");
        Err(Status::deadline_exceeded(message))
    });
    Ok(answer?.into_inner())
}

/// Whether what failed so may have been done: nobody said that it was refused.
pub(super) fn may_have_arrived(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

pub(super) fn may_be_other_elsewhere(status: &Status) -> bool {
    may_have_arrived(status) || status.code() == Code::ResourceExhausted
}

pub(super) fn timed<T>(message: T, limit: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    request
}

/// 0.2 s doubling to 10 s, of which a random half to all is waited.
pub(super) fn backoff(failures: u32, chance: f64) -> Duration {
    let full = BACKOFF_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(BACKOFF_MAX);
    full.mul_f64(0.5 + chance / 2.0)
}
