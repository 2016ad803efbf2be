//! First bytes → protocol. Pure, total, and looks at no more than [`ENOUGH`] bytes.
//!
//! An answer is given at the first byte that decides: a client that speaks little and waits must not stall
//! on detection. Mistaking text for HTTP would break it, so a request line has to look like one: method,
//! space, and a target as RFC 9112 §3.2 has it.

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detected {
    /// The beginning of an HTTP/1 request line.
    Http1,
    /// HTTP/2's connection preface (RFC 9113 §3.4).
    Http2Preface,
    /// A TLS record with a client hello.
    Tls,
    /// None of these: opaque bytes.
    Unknown,
    /// All of the above that the bytes still allow need more bytes.
    NeedMore,
}

impl Detected {
    /// The metric's `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2Preface => "http2",
            Self::Tls => "tls",
            Self::Unknown => "unknown",
            Self::NeedMore => "undecided",
        }
    }
}

/// With so many bytes the answer is never [`Detected::NeedMore`].
pub const ENOUGH: usize = METHOD_MAX + 1 + b"https://".len();

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest method we look for; IANA's longest is `UPDATEREDIRECTREF`, 17.
const METHOD_MAX: usize = 24;

/// Decides.
pub fn detect(bytes: &[u8]) -> Detected {
    if bytes.is_empty() {
        return Detected::NeedMore;
    }
    if bytes.starts_with(PREFACE) {
        return Detected::Http2Preface;
    }
    if PREFACE.starts_with(bytes) {
        return Detected::NeedMore;
    }
    match tls(bytes) {
        Detected::Unknown => http1(bytes),
        decided => decided,
    }
}

/// As [`detect`], for bytes that would go on to an application unread: what any server could take for HTTP/1 is
/// HTTP/1. Servers skip empty lines before the request line and accept methods of any case, so whatever has a
/// token, a target and a version is one. Needs the whole line: the caller bounds its length and its time.
pub fn detect_as_a_server_may(bytes: &[u8]) -> Detected {
    match detect(bytes) {
        Detected::Unknown => request_line(bytes),
        decided => decided,
    }
}

/// [`Detected::Http1`] as soon as a version follows a target, [`Detected::Unknown`] at what no method has in it,
/// or at the line's end.
fn request_line(bytes: &[u8]) -> Detected {
    const VERSION: &[u8] = b"HTTP/";
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t'));
    let line = start.and_then(|start| bytes.get(start..)).unwrap_or(&[]);
    let method = line.iter().take_while(|byte| is_tchar(**byte)).count();
    let rest = line.get(method..).unwrap_or(&[]);
    match rest.first() {
        None => return Detected::NeedMore,
        Some(byte) if method > 0 && is_blank(byte) => {}
        Some(_) => return Detected::Unknown,
    }
    let end = rest.iter().position(|byte| *byte == b'\n');
    let rest = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
    // The method; a target; from the third word on, a version.
    let mut words = rest.split(is_blank).filter(|word| !word.is_empty()).skip(1);
    if words.any(|word| starts_with_ignoring_case(word, VERSION)) {
        Detected::Http1
    } else if end.is_some() {
        Detected::Unknown
    } else {
        Detected::NeedMore
    }
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Record type 22, version 3.0–3.4, a length below 2¹⁴ + 1 KiB, and in it a client hello (RFC 8446 §5.1, §4).
fn tls(bytes: &[u8]) -> Detected {
    let expected: [fn(u8) -> bool; 6] = [
        |kind| kind == 22,
        |major| major == 3,
        |minor| minor <= 4,
        |length_high| length_high <= 0x44,
        |_length_low| true,
        |message| message == 1,
    ];
    if !expected
        .iter()
        .zip(bytes)
        .all(|(is_fine, byte)| is_fine(*byte))
    {
        Detected::Unknown
    } else if bytes.len() < expected.len() {
        Detected::NeedMore
    } else {
        Detected::Tls
    }
}

fn http1(bytes: &[u8]) -> Detected {
    let is_token = |byte: &&u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = bytes.iter().take(METHOD_MAX).take_while(is_token).count();
    match bytes.get(method..) {
        // Also after the longest method: its space may be the next byte.
        Some([]) => Detected::NeedMore,
        Some([b' ', target @ ..]) if method > 0 => {
            request_target(bytes.starts_with(b"CONNECT "), target)
        }
        _ => Detected::Unknown,
    }
}

fn request_target(connect: bool, target: &[u8]) -> Detected {
    const SCHEMES: [&[u8]; 2] = [b"http://", b"https://"];
    match target {
        [] => Detected::NeedMore,
        [b'/' | b'*', ..] => Detected::Http1,
        [first, ..] if connect && (first.is_ascii_alphanumeric() || *first == b'[') => {
            Detected::Http1
        }
        _ if SCHEMES
            .iter()
            .any(|scheme| starts_with_ignoring_case(target, scheme)) =>
        {
            Detected::Http1
        }
        _ if SCHEMES
            .iter()
            .any(|scheme| starts_with_ignoring_case(scheme, target)) =>
        {
            Detected::NeedMore
        }
        _ => Detected::Unknown,
    }
}

fn starts_with_ignoring_case(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests;
