//! One normal form of a request's path, for routing, access and upstream alike; and for configuration that names paths,
//! since a rule for a path that is not normal would match nothing.
//!
//! Dot segments are resolved and percent-encoded unreserved characters decoded (RFC 3986 §6.2.2). What the
//! application might read differently than we do is refused, because a path that means `/public/x` to policy
//! and `/admin` to the application is a hole in policy: encoded `/`, `\` and NUL, a backslash, and parameters
//! (`/orders;x`), which some frameworks take away before they look where a request belongs and others do not. A mesh whose
//! applications use them says so; then they may stand at the end of the last segment (never `/public/..;/admin`), and rules
//! look at the path without them. Slashes that follow each other are one, as most applications read them, unless the mesh
//! says that its applications mean empty segments.

use std::{borrow::Cow, fmt::Write as _};

/// What `//` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EmptySegments {
    /// The same as `/`.
    #[default]
    Merge,
    /// A segment without a name, as object stores have them in keys.
    Keep,
}

/// What `;` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PathParameters {
    /// Nobody knows: refused.
    #[default]
    Refuse,
    /// What follows it in the last segment is for the application, as a query is: rules do not look at it.
    Keep,
}

/// How the applications of a mesh read paths: one way for all of them, since caller and callee have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PathReading {
    /// What `//` means.
    pub empty_segments: EmptySegments,
    /// What `;` means.
    pub parameters: PathParameters,
}

impl PathReading {
    /// Takes whatever is taken somewhere: for a path that was judged before, and changed by us.
    pub const LENIENT: Self = Self {
        empty_segments: EmptySegments::Keep,
        parameters: PathParameters::Keep,
    };
}

/// Why a path is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Neither `/…` nor `*`.
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// `%2F`, `%5C`, `%00`, `\`, or `;`, plain or encoded, before a slash or after dots.
    #[error("path is ambiguous")]
    Ambiguous,
    /// `;`, plain or encoded, where the mesh does not say what it means.
    #[error("path has parameters (`;`), which the Mesh does not let in (`pathParameters`)")]
    Parameters,
    /// `%` without two hexadecimal digits, or a byte no path may have.
    #[error("path is malformed")]
    Malformed,
    /// `..` beyond the root.
    #[error("path climbs above the root")]
    AboveRoot,
}

impl PathError {
    /// For `x-usher-reason`.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path-not-absolute",
            Self::Ambiguous => "path-ambiguous",
            Self::Parameters => "path-parameters",
            Self::Malformed => "path-malformed",
            Self::AboveRoot => "path-above-root",
        }
    }
}

/// The normal form of a path without its query. Borrowed, in one pass, if it is normal already.
///
/// # Errors
/// See [`PathError`].
pub fn normalize(path: &str, reading: PathReading) -> Result<Cow<'_, str>, PathError> {
    if path == "*" {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let text = decode(path)?;
    check_parameters(&text, reading.parameters)?;
    let text = if has_dot_segment(&text) {
        Cow::Owned(resolve_dots(&text)?)
    } else {
        text
    };
    // Dots first, as RFC 3986 reads them: what is sent on has neither, so nobody can read it in another order.
    if reading.empty_segments == EmptySegments::Merge && has_empty_segment(&text) {
        return Ok(Cow::Owned(merge_slashes(&text)));
    }
    Ok(text)
}

/// What routes, policies and limits look at of a normal path: it without its parameters.
pub fn without_parameters(path: &str) -> &str {
    // Only the last segment of a normal path has any, so nothing is cut off but them.
    path.split_once(';').map_or(path, |(before, _)| before)
}

/// Whether configuration may name the path: it is normal, so requests can have it. Without empty segments even where
/// the mesh keeps them: Gateway API's paths have none. Nor parameters, which no rule looks at, nor an encoded `;`, after which
/// nothing could be put in the place of a prefix.
pub fn is_normal(path: &str) -> bool {
    let reading = PathReading {
        empty_segments: EmptySegments::Merge,
        ..PathReading::LENIENT
    };
    let normal = normalize(path, reading).is_ok_and(|normal| normal == path);
    normal && path != "*" && !path.contains(';') && !path.contains("%3B")
}

/// The normal path that an author who wrote this one probably means: as it is sent.
pub fn meant(path: &str) -> Option<String> {
    let mut ascii = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' => ascii.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(ascii, "%{byte:02X}")),
        }
    }
    // Nobody writes an empty segment and means none: what is asked for is a path without.
    let normal = normalize(&ascii, PathReading::LENIENT).ok()?.into_owned();
    is_normal(&normal).then_some(normal)
}

/// Decodes unreserved characters, upper-cases the digits of what stays encoded.
fn decode(path: &str) -> Result<Cow<'_, str>, PathError> {
    // `!` to `~` without the refused ones: by far the usual case leaves here.
    let plain =
        |byte: u8| (0x21..=0x7e).contains(&byte) && !matches!(byte, b'%' | b'\\' | b'#' | b'?');
    if path.bytes().all(plain) {
        return Ok(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = digits else {
                    return Err(PathError::Malformed);
                };
                push_encoded(&mut normal, high << 4 | low)?;
            }
            b'\\' => return Err(PathError::Ambiguous),
            byte if plain(byte) => normal.push(char::from(byte)),
            _ => return Err(PathError::Malformed),
        }
    }
    Ok(Cow::Owned(normal))
}

fn push_encoded(normal: &mut String, byte: u8) -> Result<(), PathError> {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or('0');
    match byte {
        b'/' | b'\\' | 0 => return Err(PathError::Ambiguous),
        b'-' | b'.' | b'_' | b'~' => normal.push(char::from(byte)),
        byte if byte.is_ascii_alphanumeric() => normal.push(char::from(byte)),
        byte => normal.extend(['%', digit(byte >> 4), digit(byte & 15)]),
    }
    Ok(())
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `;` can be harmless only in the last segment, after something that is not dots. Encoded it is a letter like others
/// (RFC 3986 §2.2), but some proxies decode it on the way to applications that take parameters away: it has no other places.
fn check_parameters(path: &str, parameters: PathParameters) -> Result<(), PathError> {
    let found = [path.find(';'), path.find("%3B")].into_iter().flatten();
    let Some((before, after)) = found.min().and_then(|first| path.split_at_checked(first)) else {
        return Ok(());
    };
    let segment = before.rsplit('/').next().unwrap_or("");
    if after.contains('/') || matches!(segment, "" | "." | "..") {
        return Err(PathError::Ambiguous);
    }
    match parameters {
        PathParameters::Refuse => Err(PathError::Parameters),
        PathParameters::Keep => Ok(()),
    }
}

fn has_empty_segment(path: &str) -> bool {
    path.as_bytes().windows(2).any(|pair| pair == b"//")
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        merged.push('/');
        merged.push_str(segment);
    }
    if path.ends_with('/') {
        merged.push('/');
    }
    merged
}

fn has_dot_segment(path: &str) -> bool {
    path.contains("/.") && path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// RFC 3986 §5.2.4; climbing above the root is refused instead of ignored.
fn resolve_dots(path: &str) -> Result<String, PathError> {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." && segments.pop().is_none() {
                    return Err(PathError::AboveRoot);
                }
                if last {
                    // `/a/b/..` is the directory `/a/`.
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    Ok(normal)
}

#[cfg(test)]
mod tests;
