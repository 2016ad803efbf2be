//! The answers this proxy makes itself: the only place that picks a status code.
//!
//! Each says who decided what and why: in `x-usher-reason` for programs, in the body for people. gRPC callers
//! get a trailers-only response, because they look nowhere else.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use usher_config::model::{FaultAnswer, StaticResponse};

use crate::error::{
    Exceeded, Flag, Misdirected, Processing, ProxyError, Refusal, TokenProblem, seconds,
};

use super::{Body, headers};

/// In which form the caller reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Status and text.
    Http,
    /// `grpc-status` in a 200.
    Grpc,
}

/// What may be asked instead of `CONNECT`; an application may know more (RFC 9110 §15.5.6 wants a list).
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE";

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// The answer to a request that ended in `error`.
pub fn respond(error: &ProxyError, dialect: Dialect) -> Response<Body> {
    answer(error, dialect, &error.to_string())
}

/// The same for a caller outside the mesh: what it did wrong itself is explained, of ours it learns no names, addresses
/// or policies. The reason stays in the header, which the gateway takes off when it has been read.
pub fn respond_outside(error: &ProxyError, dialect: Dialect) -> Response<Body> {
    let own = matches!(
        error,
        ProxyError::InvalidRequest { .. }
            | ProxyError::Refused { .. }
            | ProxyError::UpgradeRefused
            | ProxyError::Misdirected { .. }
    );
    if own {
        return respond(error, dialect);
    }
    let words = status(error).canonical_reason().unwrap_or("failed");
    answer(error, dialect, &words.to_ascii_lowercase())
}

/// An answer that the callee's sidecar has made itself, with its own words taken out: they are for callers in the mesh. What
/// an application answers is left alone; it cannot mark its answers so, its sidecar would take the mark off.
pub fn without_words(response: Response<Body>) -> Response<Body> {
    if !response.headers().contains_key(headers::REASON) {
        return response;
    }
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let body = if head.headers.contains_key(GRPC_STATUS) {
        head.headers.remove(GRPC_MESSAGE);
        Body::Empty
    } else {
        let words = head.status.canonical_reason().unwrap_or("failed");
        Body::Full(format!("usher: {}\n", words.to_ascii_lowercase()).into())
    };
    Response::from_parts(head, body)
}

fn answer(error: &ProxyError, dialect: Dialect, text: &str) -> Response<Body> {
    let mut response = match dialect {
        Dialect::Http => {
            let mut response = Response::new(Body::Full(format!("usher: {text}\n").into()));
            *response.status_mut() = status(error);
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, plain);
            response
        }
        Dialect::Grpc => {
            let mut response = Response::new(Body::Empty);
            let headers = response.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            );
            headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc_code(error))));
            if let Ok(message) = HeaderValue::try_from(percent_encoded(text)) {
                headers.insert(GRPC_MESSAGE, message);
            }
            response
        }
    };
    let headers = response.headers_mut();
    let reason = format!("{} {}", error.flag().as_str(), error.slug());
    if let Ok(reason) = HeaderValue::try_from(reason) {
        headers.insert(headers::REASON, reason);
    }
    if status(error) == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    }
    if let Some(wait) = retry_after(error) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    if let ProxyError::Unauthenticated { why, .. } = error {
        let challenge = HeaderValue::from_static(why.challenge());
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let ProxyError::RateLimited { exceeded, .. } = error {
        say_limit(headers, exceeded);
    }
    response
}

/// A policy's fixed answer.
pub fn fixed(answer: &StaticResponse) -> Response<Body> {
    let body = if answer.body.is_empty() {
        Body::Empty
    } else {
        Body::Full(answer.body.clone())
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}

/// The HTTP status for an error. 503: try again, perhaps elsewhere; 502: it may have been done.
pub fn status(error: &ProxyError) -> StatusCode {
    match error {
        ProxyError::InvalidRequest { .. } | ProxyError::DownstreamBody => StatusCode::BAD_REQUEST,
        ProxyError::Refused { refusal } => refused(*refusal),
        ProxyError::UpgradeRefused => StatusCode::NOT_IMPLEMENTED,
        ProxyError::PlaintextRefused | ProxyError::AccessDenied { .. } => StatusCode::FORBIDDEN,
        ProxyError::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        // No token would help.
        ProxyError::Unauthenticated {
            why: TokenProblem::Policy,
            ..
        } => StatusCode::FORBIDDEN,
        ProxyError::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        ProxyError::NoSuchHost { .. }
        | ProxyError::NoSuchDestination { .. }
        | ProxyError::NoSuchPort { .. } => StatusCode::NOT_FOUND,
        ProxyError::PortIsTcp { .. } => StatusCode::MISDIRECTED_REQUEST,
        ProxyError::FaultInjected { answer, .. } => match answer {
            FaultAnswer::Status(status) => *status,
            FaultAnswer::GrpcStatus(_) => StatusCode::SERVICE_UNAVAILABLE,
        },
        ProxyError::Misdirected { why, .. } => match why {
            Misdirected::Host
            | Misdirected::Route
            | Misdirected::Rule
            | Misdirected::Name
            | Misdirected::NoName
            | Misdirected::NoTls
            | Misdirected::Port => StatusCode::NOT_FOUND,
            Misdirected::Connection => StatusCode::MISDIRECTED_REQUEST,
        },
        ProxyError::UnknownService { .. }
        | ProxyError::NotInMesh { .. }
        | ProxyError::DiscoveryTimeout { .. }
        | ProxyError::NoEndpoint { .. }
        | ProxyError::BreakerOpen { .. }
        | ProxyError::Overflow { .. }
        | ProxyError::ConnectFailed { .. }
        | ProxyError::ConnectTimeout { .. }
        | ProxyError::TlsFailed { .. }
        | ProxyError::Unverifiable { .. }
        | ProxyError::RefusedUnseen { .. }
        | ProxyError::NotTaken { .. }
        | ProxyError::UpstreamReset {
            processing: Processing::Unprocessed,
            ..
        } => StatusCode::SERVICE_UNAVAILABLE,
        ProxyError::UpstreamReset {
            processing: Processing::Unknown,
            ..
        }
        | ProxyError::IdleRace { .. }
        | ProxyError::UpstreamBrokeOff { .. }
        | ProxyError::UpstreamProtocol { .. } => StatusCode::BAD_GATEWAY,
        ProxyError::DeadlineExpired
        | ProxyError::RequestTimeout { .. }
        | ProxyError::AttemptTimeout { .. }
        | ProxyError::StreamIdle { .. }
        | ProxyError::StreamTooLong { .. } => StatusCode::GATEWAY_TIMEOUT,
        ProxyError::InvalidBackend { .. } | ProxyError::Internal { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        // Nobody reads it; the access log shows what nginx made customary.
        ProxyError::DownstreamGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
    }
}

/// Most of what is wrong with a head is a 400; what a caller could do better has a status of its own.
fn refused(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
        Refusal::HeadTooLarge | Refusal::TooManyFields => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
        Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        Refusal::Connect => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::TransferCodingUnknown => StatusCode::NOT_IMPLEMENTED,
        Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
        Refusal::RequestLine
        | Refusal::Method
        | Refusal::Target
        | Refusal::LineEnding
        | Refusal::Folded
        | Refusal::FieldName
        | Refusal::FieldValue
        | Refusal::HostMissing
        | Refusal::HostRepeated
        | Refusal::ContentLength
        | Refusal::ContentLengthRepeated
        | Refusal::LengthAndCoding
        | Refusal::TransferCoding
        | Refusal::TransferCodingInOldVersion => StatusCode::BAD_REQUEST,
    }
}

fn grpc_code(error: &ProxyError) -> u8 {
    match error {
        ProxyError::FaultInjected {
            answer: FaultAnswer::GrpcStatus(code),
            ..
        } => *code,
        _ => grpc_status(error.flag()),
    }
}

/// The gRPC code for a flag (SEMANTICS §7).
pub fn grpc_status(flag: Flag) -> u8 {
    match flag {
        Flag::Uo | Flag::Rl => 8,
        Flag::Az => 7,
        Flag::Jw => 16,
        Flag::De | Flag::Ut => 4,
        Flag::Uh
        | Flag::Uf
        | Flag::Nr
        | Flag::Nc
        | Flag::Urx
        | Flag::Uc
        | Flag::Ur
        | Flag::Lr
        | Flag::Dc
        | Flag::Dt
        | Flag::Si
        | Flag::Dpe
        | Flag::Upe
        | Flag::Bo
        | Flag::Fb
        | Flag::Rb
        | Flag::Cr
        | Flag::Di
        | Flag::Fi => 14,
    }
}

fn retry_after(error: &ProxyError) -> Option<Duration> {
    match error {
        ProxyError::BreakerOpen { retry_after, .. } => Some(*retry_after),
        ProxyError::RateLimited { exceeded, .. } => Some(exceeded.wait),
        _ => None,
    }
}

/// The three fields that clients read today (GitHub's, Envoy's and Kong's form, draft-ietf-httpapi-ratelimit-headers up to
/// -07). Later drafts have replaced them by `RateLimit` and `RateLimit-Policy`, twice with another syntax, and are drafts
/// still: what nobody parses yet can be added when it is settled. Only on refusals: an answer costs nothing more for having
/// been within a limit, and `Retry-After` is what callers act on.
fn say_limit(headers: &mut HeaderMap, exceeded: &Exceeded) {
    let fields = [
        ("ratelimit-limit", u64::from(exceeded.requests)),
        ("ratelimit-remaining", 0),
        ("ratelimit-reset", seconds(exceeded.whole)),
    ];
    for (name, value) in fields {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

/// gRPC over HTTP/2, "Percent-Encoded": printable ASCII but `%` stays.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            match byte {
                b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
                _ => {
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
            encoded
        })
}
