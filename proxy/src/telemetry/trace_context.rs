//! Trace context: which trace a request belongs to, by W3C `traceparent`, or B3 where that is absent.
//!
//! The proxy is one span on each side; the application in between has to copy the headers from the request
//! it serves to those it makes. A context is kept if it is well-formed, else a new trace begins (Trace
//! Context §3.2: never repair). Ids come from the caller's random numbers, hence pure.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::hex;
use crate::random;

/// W3C Trace Context Level 2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Vendors' state: passed on untouched, dropped with a traceparent that is no good.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// One request on all its hops.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const B3: &str = "b3";
const B3_TRACE: &str = "x-b3-traceid";
const B3_SPAN: &str = "x-b3-spanid";
const B3_SAMPLED: &str = "x-b3-sampled";
const B3_ALL: [&str; 6] = [
    B3,
    B3_TRACE,
    B3_SPAN,
    B3_SAMPLED,
    "x-b3-parentspanid",
    "x-b3-flags",
];

/// Longest request id that is kept: longer ones are no ids.
const REQUEST_ID_MAX: usize = 128;

/// Where in which trace we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never zero.
    pub trace_id: u128,
    /// The span that calls: the parent of the next one. Never zero.
    pub span_id: u64,
    /// Somebody records this trace.
    pub sampled: bool,
}

impl TraceContext {
    /// A new trace, recorded in `percent` of cases.
    pub fn start(percent: u8, random: u64) -> Self {
        let (one, two) = random::split(random);
        let (three, four) = random::split(one ^ two.rotate_left(32));
        Self {
            trace_id: (u128::from(one) << 64 | u128::from(two)).max(1),
            span_id: three.max(1),
            sampled: random::happens(percent, four),
        }
    }

    /// From `traceparent`, else B3; `None`: a new trace has to begin.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        if let Some(parent) = text(TRACEPARENT.as_str()) {
            return parse(parent);
        }
        if let Some(single) = text(B3) {
            return parse_b3(single);
        }
        let trace_id = hex::read(text(B3_TRACE)?)?;
        let span_id = span(text(B3_SPAN)?)?;
        let sampled = matches!(text(B3_SAMPLED), Some(b"1" | b"true"));
        (trace_id > 0).then_some(Self {
            trace_id,
            span_id,
            sampled,
        })
    }

    /// The same trace, recorded in `percent` of cases whatever its caller wants: who is not trusted may say what belongs
    /// together, and not how much of it we pay for.
    #[must_use]
    pub fn sampled_anew(self, percent: u8, random: u64) -> Self {
        Self {
            sampled: random::happens(percent, random),
            ..self
        }
    }

    /// The same trace, from a span of our own.
    #[must_use]
    pub fn child(self, random: u64) -> Self {
        Self {
            span_id: random::split(random).0.max(1),
            ..self
        }
    }

    /// `00-<trace>-<span>-<flags>`.
    pub fn traceparent(self) -> HeaderValue {
        let mut text = Vec::with_capacity(55);
        text.extend_from_slice(b"00-");
        text.extend_from_slice(&hex::digits_of_u128(self.trace_id));
        text.push(b'-');
        text.extend_from_slice(&hex::digits(self.span_id));
        text.extend_from_slice(if self.sampled { b"-01" } else { b"-00" });
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Takes B3 from a request whose context is known: it would contradict what is written.
    pub fn remove_b3(headers: &mut HeaderMap) {
        for name in B3_ALL {
            headers.remove(name);
        }
    }

    /// Writes the context onto a request; a `tracestate` without its `traceparent` means nothing.
    pub fn write(self, headers: &mut HeaderMap) {
        if !headers.contains_key(TRACEPARENT) {
            headers.remove(TRACESTATE);
        }
        headers.insert(TRACEPARENT, never_indexed(self.traceparent()));
    }
}

/// Reads a `traceparent` (Trace Context §3.2): version 00 exactly; later ones by their first four fields.
pub fn parse(text: &[u8]) -> Option<TraceContext> {
    let (version, trace) = text.split_at_checked(2)?;
    let (trace, span_text) = trace.strip_prefix(b"-")?.split_at_checked(32)?;
    let (span_text, flags) = span_text.strip_prefix(b"-")?.split_at_checked(16)?;
    let (flags, rest) = flags.strip_prefix(b"-")?.split_at_checked(2)?;
    // To the end in any case: many bytes at once then.
    let upper = text
        .iter()
        .fold(false, |upper, byte| upper | byte.is_ascii_uppercase());
    if upper || !(rest.is_empty() || rest.starts_with(b"-")) {
        return None;
    }
    match hex::read(version)? {
        0 if !rest.is_empty() => return None,
        0xff => return None,
        _ => {}
    }
    let (trace_id, span_id) = (hex::read(trace)?, span(span_text)?);
    (trace_id > 0).then_some(TraceContext {
        trace_id,
        span_id,
        sampled: hex::read(flags)? & 1 == 1,
    })
}

/// `<trace>-<span>[-<sampled>[-<parent>]]` (openzipkin/b3-propagation).
fn parse_b3(text: &[u8]) -> Option<TraceContext> {
    let mut fields = text.split(|byte| *byte == b'-');
    let (trace_id, span_id) = (hex::read(fields.next()?)?, span(fields.next()?)?);
    let sampled = matches!(fields.next(), Some(b"1" | b"d"));
    (trace_id > 0).then_some(TraceContext {
        trace_id,
        span_id,
        sampled,
    })
}

/// For values that no second request has: HPACK would fill its table with them, and on each request compare
/// with all it has kept (RFC 7541 §7.1.3 has the marker for another purpose; the effect is the wanted one).
pub fn never_indexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn span(text: &[u8]) -> Option<u64> {
    if text.len() != 16 {
        return None;
    }
    u64::try_from(hex::read(text)?).ok().filter(|id| *id > 0)
}

/// Whose `x-request-id` is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Our own application or a mesh peer: its id is kept.
    Trusted,
    /// Anybody else: a new id.
    Untrusted,
}

/// The request's id: the caller's if it is trusted and sane, else a new one; and puts it on the request.
pub fn ensure_request_id(headers: &mut HeaderMap, caller: Caller, random: u64) -> HeaderValue {
    let sane = |id: &HeaderValue| {
        let text = id.as_bytes();
        !text.is_empty() && text.len() <= REQUEST_ID_MAX && text.iter().all(u8::is_ascii_graphic)
    };
    if caller == Caller::Trusted
        && let Some(kept) = headers.get_mut(REQUEST_ID).filter(|id| sane(id))
    {
        kept.set_sensitive(true);
        return kept.clone();
    }
    let id = never_indexed(new_request_id(random));
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// A version 4 UUID (RFC 9562 §5.4), which is what Envoy's users expect there.
fn new_request_id(random: u64) -> HeaderValue {
    let (high, low) = random::split(random);
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let mut text = Vec::with_capacity(36);
    let (high, low) = (hex::digits(high), hex::digits(low));
    let (one, rest) = high.split_at(8);
    let (two, three) = rest.split_at(4);
    let (four, five) = low.split_at(4);
    text.extend_from_slice(one);
    for field in [two, three, four, five] {
        text.push(b'-');
        text.extend_from_slice(field);
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
