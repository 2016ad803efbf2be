//! What must hold for any bytes; shared by the fuzz targets and by the replay of their corpus.
#![allow(dead_code, reason = "each fuzz target uses one of these")]
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a check that fails panics"
)]

use http::{HeaderMap, HeaderValue};
use usher_config::{
    model::{Authentication, JwtProvider, Timeouts, TokenFrom},
    value::{JwtAlgorithm, KeyMaterial, VerificationKey},
};
use usher_proxy::{
    clock::Tick,
    detect::parser::{self, Detected},
    http::strict,
    policy::{
        timeout::{self, Deadline},
        token::Authenticator,
    },
    route::{
        authority,
        path::{self, PathReading},
    },
    telemetry::trace_context::{self, TraceContext},
};

/// A decision is made within bounds and never taken back.
pub(crate) fn detect(bytes: &[u8]) {
    let mut decided = Detected::NeedMore;
    for end in 0..=bytes.len().min(2 * parser::ENOUGH) {
        let now = parser::detect(&bytes[..end]);
        assert!(decided == Detected::NeedMore || decided == now);
        assert!(end < parser::ENOUGH || now != Detected::NeedMore);
        decided = now;
    }
    let mut decided = Detected::NeedMore;
    for end in 0..=bytes.len() {
        let now = parser::detect_as_a_server_may(&bytes[..end]);
        assert!(decided == Detected::NeedMore || decided == now);
        // More is asked for only until a line ends.
        let line = bytes[..end].trim_ascii_start();
        assert!(now != Detected::NeedMore || end < parser::ENOUGH || !line.contains(&b'\n'));
        decided = now;
    }
}

/// How bytes arrive decides nothing; a head that passes holds no control character, ends once, and frames once.
pub(crate) fn http1_request(bytes: &[u8]) {
    let (whole, whole_requests) = pass(bytes.chunks(bytes.len().max(1)));
    let (apart, apart_requests) = pass(bytes.chunks(1));
    // In a body that turns out malformed the last piece is not passed on.
    assert!(whole == apart || (apart.starts_with(&whole) && whole_requests == apart_requests));
    let Some(text) = whole.strip_suffix(b"\r\n\r\n") else {
        return;
    };
    let is_one_head = !text.windows(4).any(|part| part == b"\r\n\r\n");
    if is_one_head && let Ok(framing) = strict::judge(&whole) {
        let lower = text.to_ascii_lowercase();
        let has = |name: &[u8]| lower.windows(name.len()).any(|part| part == name);
        let is_fine = |byte: &u8| *byte >= b' ' && *byte != 0x7f || b"\r\n\t".contains(byte);
        assert!(text.iter().all(is_fine));
        assert_eq!(
            framing == strict::Framing::Chunked,
            has(b"\r\ntransfer-encoding:")
        );
        assert!(framing != strict::Framing::Chunked || !has(b"\r\ncontent-length:"));
    }
}

/// What passes, and how many requests that is.
fn pass<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, u64) {
    let mut scanner = strict::Scanner::default();
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for part in parts {
        held.extend_from_slice(part);
        while !held.is_empty() {
            match scanner.scan(&held) {
                strict::Verdict::Pass(length) => passed.extend(held.drain(..length)),
                strict::Verdict::Skip(length) => drop(held.drain(..length)),
                strict::Verdict::Hold => break,
                strict::Verdict::Wait => scanner.not_upgraded(),
                verdict @ (strict::Verdict::Refuse(_) | strict::Verdict::Broken) => {
                    assert!(scanner.is_over() && scanner.scan(&held) == verdict);
                    return (passed, scanner.requests());
                }
            }
        }
    }
    (passed, scanner.requests())
}

/// A normal form is absolute, without dot segments, and its own normal form.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(normal) = path::normalize(text, PathReading::default()) else {
        return;
    };
    let again = path::normalize(&normal, PathReading::default());
    assert_eq!(again.as_deref(), Ok(&*normal));
    assert!(!normal.contains("//") && !normal.contains(';'));
    assert!(normal == "*" || normal.starts_with('/'));
    assert!(
        !normal
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    );
    assert!(!normal.contains('\\') && !normal.contains("%2F") && !normal.contains("%00"));
    assert!(normal.len() <= text.len());
}

/// A host is lower case, without user information, and means the same when written again.
pub(crate) fn authority(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(parsed) = authority::parse(text) else {
        return;
    };
    assert!(!parsed.host.is_empty() && !parsed.host.contains(['@', '/', ' ']));
    assert!(!parsed.host.bytes().any(|byte| byte.is_ascii_uppercase()));
    let own = "bank".parse().expect("a name");
    let meaning = parsed.meaning(&own);
    if !parsed.host.contains(':') {
        let again = authority::parse(&parsed.host).expect("a parsed host is an authority");
        assert_eq!(again.meaning(&own), meaning);
    }
}

/// What is read as a context is written as one that reads the same.
pub(crate) fn traceparent(bytes: &[u8]) {
    if let Some(context) = trace_context::parse(bytes) {
        let written = context.traceparent();
        assert_eq!(trace_context::parse(written.as_bytes()), Some(context));
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    for name in ["b3", "x-b3-traceid", "x-request-id"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.clone());
        headers.insert("x-b3-spanid", HeaderValue::from_static("e457b5a2e4d86bd1"));
        if let Some(context) = TraceContext::of(&headers) {
            assert!(context.trace_id != 0 && context.span_id != 0);
        }
        let id = trace_context::ensure_request_id(&mut headers, trace_context::Caller::Trusted, 1);
        assert!(!id.is_empty() && id.len() <= 128);
    }
}

/// Nobody knows the private half of the key, so no bytes are a token; taken out, there is none.
pub(crate) fn token(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    // P-256's own base point.
    let base = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let digit = |at: usize| u8::from_str_radix(&base[at..at + 2], 16).expect("hexadecimal");
    let name = http::HeaderName::from_static("x-token");
    for from in [
        TokenFrom::Header(name.clone()),
        TokenFrom::Cookie("t".into()),
    ] {
        let provider = JwtProvider {
            issuer: "i".into(),
            audiences: vec!["a".to_owned()],
            keys: vec![VerificationKey {
                id: "k".into(),
                algorithm: None,
                material: KeyMaterial::P256((0..base.len()).step_by(2).map(digit).collect()),
            }],
            algorithms: JwtAlgorithm::ALL.to_vec(),
            from,
            keep: false,
            headers: Vec::new(),
        };
        let policy = Authenticator::new(&Authentication {
            name: "bank/p".into(),
            required: false,
            providers: vec![provider],
            stripped: Vec::new(),
            invalid: false,
        });
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), value.clone());
        headers.insert(http::header::COOKIE, value.clone());
        let now = std::time::SystemTime::UNIX_EPOCH;
        assert!(!matches!(policy.authenticate(&headers, now), Ok(Some(_))));
        policy.strip(&mut headers, None);
        assert!(matches!(policy.authenticate(&headers, now), Ok(None)));
    }
}

/// A timeout that was read is written no longer; no header lengthens what policy allows.
pub(crate) fn grpc_timeout(bytes: &[u8]) {
    if let Some(read) = timeout::parse_grpc_timeout(bytes) {
        let written = timeout::grpc_timeout(read);
        let again =
            timeout::parse_grpc_timeout(written.as_bytes()).expect("what we write can be read");
        assert!(again <= read);
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    for name in [timeout::GRPC_TIMEOUT, timeout::DEADLINE, timeout::ENVOY] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.clone());
        let timeouts = Timeouts::default();
        let left = Deadline::of(&headers, &timeouts, false, Tick::ZERO).remaining(Tick::ZERO);
        assert!(left <= timeouts.request);
    }
}
