//! Retries: may this failed attempt be repeated, and when.
//!
//! The promise is that a retry can never repeat a payment. So there are two roads (SEMANTICS §6): what is
//! *provably unprocessed* may be repeated whatever it is; everything else only if the request is
//! *repeatable*, by its method or because policy vouches for it. gRPC is POST. Pure; the budget is asked
//! afterwards by the caller, only if the answer here is yes.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode};
use usher_config::model;

use crate::random;

/// Counts attempts of one request across hops: `1` is the first.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-usher-attempt");

const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What a request is like, found out once, before its first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTraits {
    /// Doing it twice does no harm, whoever does it: by method. Never gRPC's, which is POST.
    pub idempotent: bool,
    /// Doing it twice *at the service whose policy was asked* does no harm: that service knows repetitions by an
    /// idempotency header, or lists the gRPC method. What any other service would make of them is not known.
    pub vouched: bool,
    /// Statuses are gRPC's.
    pub grpc: bool,
    /// Somebody above us is retrying already (`x-usher-attempt` > 1).
    pub nested: bool,
}

impl RequestTraits {
    /// Of bytes that mean nothing to us.
    pub const OPAQUE: Self = Self {
        idempotent: false,
        vouched: false,
        grpc: false,
        nested: false,
    };

    /// Reads them off a request. `path` is normalised; for gRPC it names the method.
    pub fn of(policy: &model::Retry, method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let grpc = is_grpc(headers);
        let by_header = policy.idempotency_header.as_ref();
        let called = path.strip_prefix('/').unwrap_or(path);
        let is_called = |method: &String| method == called;
        let listed = grpc && policy.idempotent_methods.iter().any(is_called);
        let attempt = headers
            .get(ATTEMPT)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            idempotent: !grpc && is_idempotent(method),
            vouched: listed || by_header.is_some_and(|name| has_key(headers, name)),
            grpc,
            nested: attempt.unwrap_or(1u32) > 1,
        }
    }

    /// Whether the service whose policy was asked may be sent it twice.
    pub fn repeatable(self) -> bool {
        self.idempotent || self.vouched
    }

    /// May be done twice only if `other`, the same request in another form or for another service, may too.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self {
            idempotent: self.idempotent && other.idempotent,
            vouched: self.vouched && other.vouched,
            ..self
        }
    }
}

/// A key without a value tells its receiver no two requests apart.
fn has_key(headers: &HeaderMap, name: &HeaderName) -> bool {
    let is_blank = |value: &http::HeaderValue| value.as_bytes().trim_ascii().is_empty();
    headers.contains_key(name) && !headers.get_all(name).iter().any(is_blank)
}

/// RFC 9110 §9.2.2. An extension method is unknown to us, hence not.
pub fn is_idempotent(method: &Method) -> bool {
    const METHODS: [Method; 6] = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ];
    METHODS.contains(method)
}

/// `application/grpc` and its `+proto`-like forms; not `application/grpc-web`.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(http::header::CONTENT_TYPE)
        .map(http::HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFailure {
    /// Connect failure, TLS failure before any request byte, `REFUSED_STREAM`, or a `GOAWAY` below our stream.
    ProvablyUnprocessed,
    /// A reused HTTP/1.1 connection died before any response byte (flag `CR`).
    IdleRace,
    /// An answer with this status.
    Status {
        /// Of the answer.
        status: StatusCode,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// An answer with this gRPC code, from headers or trailers.
    GrpcStatus {
        /// Of the answer.
        code: u8,
        /// Its `grpc-retry-pushback-ms`.
        pushback: Option<Pushback>,
    },
    /// No response headers within `backendRequest`. Treated as status 504, gRPC 4.
    PerTryTimeout,
    /// The stream broke after request bytes had gone, before response headers. Treated as 502, gRPC 14.
    Reset,
}

/// `grpc-retry-pushback-ms` (gRFC A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Not before this.
    After(Duration),
    /// Negative or unreadable: do not retry at all.
    Never,
}

impl Pushback {
    /// Reads it from response headers or trailers.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(PUSHBACK)?.to_str().unwrap_or("");
        let millis = text.parse().map(Duration::from_millis);
        Some(millis.map_or(Self::Never, Self::After))
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3). Dates are ignored: servers that shed load send seconds,
/// and trusting a peer's clock buys nothing.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// One failed attempt and what surrounds it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Of the request.
    pub traits: RequestTraits,
    /// 1 for the first.
    pub number: u32,
    /// How it failed.
    pub failure: AttemptFailure,
    /// The request's body can be sent again: unread, or whole in the replay buffer.
    pub body_replayable: bool,
    /// It went through a half-open breaker.
    pub trial: bool,
    /// Until the request's deadline; `None`: it has none, and waits 30 s at most.
    pub remaining: Option<Duration>,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes, if the budget allows, after this wait, on another endpoint if there is one.
    Retry {
        /// From now.
        after: Duration,
    },
    /// No: the failure goes to the caller.
    GiveUp(GiveUp),
}

/// Why a failure is final, for the metric and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GiveUp {
    /// Every allowed attempt was made.
    AttemptsSpent,
    /// Doing it twice might do harm.
    NotRepeatable,
    /// Policy does not list this status.
    StatusNotListed,
    /// Somebody above us retries.
    Nested,
    /// The body is gone.
    BodyGone,
    /// A half-open trial: its failure is the verdict.
    Trial,
    /// The server asked not to be asked again.
    PushedBack,
    /// The wait would outlast the deadline.
    Deadline,
}

impl GiveUp {
    /// The metric's `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsSpent => "attempts_spent",
            Self::NotRepeatable => "not_repeatable",
            Self::StatusNotListed => "status_not_listed",
            Self::Nested => "nested",
            Self::BodyGone => "body_gone",
            Self::Trial => "trial",
            Self::PushedBack => "pushed_back",
            Self::Deadline => "deadline",
        }
    }
}

/// Decides. Call the budget only on [`Decision::Retry`].
pub fn decide(policy: &model::Retry, attempt: &Attempt, random: u64) -> Decision {
    let asked = match permission(policy, attempt) {
        Ok(asked) => asked,
        Err(reason) => return Decision::GiveUp(reason),
    };
    let after = backoff(policy, attempt.number, random).max(asked);
    if after >= attempt.remaining.unwrap_or(PATIENCE) {
        Decision::GiveUp(GiveUp::Deadline)
    } else {
        Decision::Retry { after }
    }
}

/// How long a server may ask a request without a deadline to wait: as long as its `Retry-After` can cost it in
/// balancing. Without a bound its word alone would keep requests and their bodies here for hours.
const PATIENCE: Duration = Duration::from_secs(30);

/// Yes with the wait that the server asked for, or no.
fn permission(policy: &model::Retry, attempt: &Attempt) -> Result<Duration, GiveUp> {
    if attempt.trial {
        return Err(GiveUp::Trial);
    }
    if attempt.number > policy.attempts {
        return Err(GiveUp::AttemptsSpent);
    }
    if !attempt.body_replayable {
        return Err(GiveUp::BodyGone);
    }
    let asked = match attempt.failure {
        AttemptFailure::ProvablyUnprocessed => return Ok(Duration::ZERO),
        // Our own hop's race, not a verdict of the service: nesting does not multiply it.
        AttemptFailure::IdleRace if attempt.traits.repeatable() => return Ok(Duration::ZERO),
        AttemptFailure::IdleRace => return Err(GiveUp::NotRepeatable),
        AttemptFailure::Status { retry_after, .. } => retry_after.unwrap_or_default(),
        AttemptFailure::GrpcStatus {
            pushback: Some(Pushback::Never),
            ..
        } => {
            return Err(GiveUp::PushedBack);
        }
        AttemptFailure::GrpcStatus {
            pushback: Some(Pushback::After(wait)),
            ..
        } => wait,
        AttemptFailure::GrpcStatus { pushback: None, .. } => Duration::ZERO,
        AttemptFailure::PerTryTimeout | AttemptFailure::Reset => Duration::ZERO,
    };
    if !is_listed(policy, attempt) {
        return Err(GiveUp::StatusNotListed);
    }
    if !attempt.traits.repeatable() {
        return Err(GiveUp::NotRepeatable);
    }
    if attempt.traits.nested && !policy.allow_nested {
        return Err(GiveUp::Nested);
    }
    Ok(asked)
}

fn is_listed(policy: &model::Retry, attempt: &Attempt) -> bool {
    let grpc = |code: u8| policy.grpc_statuses.contains(&code);
    let either = |status: StatusCode, code: u8| {
        if attempt.traits.grpc {
            grpc(code)
        } else {
            policy.statuses.contains(&status)
        }
    };
    match attempt.failure {
        AttemptFailure::ProvablyUnprocessed | AttemptFailure::IdleRace => true,
        // A gRPC call answered by plain HTTP (a gateway's 503) means UNAVAILABLE (gRPC's HTTP mapping).
        AttemptFailure::Status { status, .. } => either(status, 14),
        AttemptFailure::GrpcStatus { code, .. } => grpc(code),
        AttemptFailure::PerTryTimeout => either(StatusCode::GATEWAY_TIMEOUT, 4),
        AttemptFailure::Reset => either(StatusCode::BAD_GATEWAY, 14),
    }
}

/// Full jitter in `[0, min((2ⁿ − 1) · base, max))` after the n-th attempt.
fn backoff(policy: &model::Retry, number: u32, random: u64) -> Duration {
    let factor = (1u32 << number.min(31)) - 1;
    let most = policy
        .backoff_base
        .saturating_mul(factor)
        .min(policy.backoff_max);
    random::up_to(most, random)
}

#[cfg(test)]
mod tests;
