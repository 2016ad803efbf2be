//! W3C trace context and request ids: taken from the incoming call, handed to every outgoing one.
//!
//! The context travels in a task-local, so that business code never passes headers around.
//! Source: <https://www.w3.org/TR/trace-context/>.

#[cfg(test)]
mod tests;

use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span, info_span};

/// Header that names the trace and the calling span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header with what tracing systems add; handed on as it came.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Header that names one request of the outside world in all logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// The trace that a piece of work belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
    state: Option<HeaderValue>,
    request_id: HeaderValue,
}

impl TraceContext {
    /// Begins a trace of our own.
    #[must_use]
    pub fn begin() -> Self {
        let request_id = uuid::Uuid::now_v7().to_string();
        Self {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
            sampled: true,
            state: None,
            // A UUID is ASCII; the fallback can't be reached and costs nothing.
            request_id: HeaderValue::try_from(request_id)
                .unwrap_or_else(|_| HeaderValue::from_static("none")),
        }
    }

    /// Continues the caller's trace with a span of our own; begins one if the caller has none.
    #[must_use]
    pub fn continue_from(headers: &HeaderMap) -> Self {
        let mut context = Self::begin();
        if let Some((trace_id, sampled)) = headers.get(TRACEPARENT).and_then(parse_traceparent) {
            context.trace_id = trace_id;
            context.sampled = sampled;
            context.state = headers.get(TRACESTATE).cloned();
        }
        if let Some(id) = headers
            .get(REQUEST_ID)
            .filter(|id| (1..=128).contains(&id.len()))
        {
            context.request_id = id.clone();
        }
        context
    }

    /// Writes the headers that an outgoing call carries.
    pub fn write(&self, headers: &mut HeaderMap) {
        let flags = u8::from(self.sampled);
        let parent = format!(
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.span_id
        );
        if let Ok(parent) = HeaderValue::try_from(parent) {
            headers.insert(TRACEPARENT, parent);
        }
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
        headers.insert(REQUEST_ID, self.request_id.clone());
    }

    /// The id that the outside world knows the request by.
    #[must_use]
    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// A log span that stamps every line with this context.
    #[must_use]
    pub fn span(&self) -> Span {
        let trace_id = format!("{:032x}", self.trace_id);
        info_span!(
            "request",
            trace_id,
            request_id = self.request_id.to_str().unwrap_or("opaque")
        )
    }
}

/// Runs `work` as part of `context`: its logs carry the trace, its calls hand it on.
pub async fn scope<F: Future>(context: TraceContext, work: F) -> F::Output {
    let span = context.span();
    CURRENT.scope(context, work).instrument(span).await
}

/// The context of the running task; a new one outside of any.
#[must_use]
pub fn current() -> TraceContext {
    CURRENT
        .try_with(Clone::clone)
        .unwrap_or_else(|_| TraceContext::begin())
}

/// Spawns `work` as part of the current context: it outlives the request it was begun for.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(scope(current(), work))
}

fn parse_traceparent(value: &HeaderValue) -> Option<(u128, bool)> {
    let text = value.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = hex(version, 2)?;
    // Version 00 has exactly four parts; later ones may append more; ff is forbidden.
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let (trace, parent, flags) = (hex(trace, 32)?, hex(parent, 16)?, hex(flags, 2)?);
    (trace != 0 && parent != 0).then_some((trace, flags & 1 == 1))
}

fn hex(text: &str, length: usize) -> Option<u128> {
    let lower = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == length && lower)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}
