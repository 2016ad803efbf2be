//! One request's head → its framing, or what is wrong with it (RFC 9112 §§2–6, RFC 9110 §5).

use crate::{
    error::Refusal,
    http::headers::{HEADER_BUFFER, HEADERS_MAX_USIZE},
};

/// The longest request target, in bytes. Default 32 KiB: four times what servers commonly take, half a head.
pub const TARGET_MAX: usize = 32 * 1024;

/// Longer than any registered method (17).
const METHOD_MAX: usize = 32;

/// What a request's line may be long at most.
pub(super) const LINE_MAX: usize = METHOD_MAX + 1 + TARGET_MAX + 1 + b"HTTP/1.1\r\n".len();

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; often 0.
    Length(u64),
    /// With the last chunk and its trailers.
    Chunked,
    /// There is none, and the answer decides whether HTTP goes on after it.
    Upgrade,
}

/// Judges a whole head, its last, empty line included.
///
/// # Errors
/// The first rule that it breaks.
pub fn judge(head: &[u8]) -> Result<Framing, Refusal> {
    if head.len() > HEADER_BUFFER {
        return Err(Refusal::HeadTooLarge);
    }
    let (line, mut rest) = split_line(head)?;
    let version = request_line(line)?;
    let mut fields = Fields::default();
    loop {
        let (line, after) = split_line(rest)?;
        if line.is_empty() {
            return fields.framing(version);
        }
        fields.add(line)?;
        rest = after;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// Up to the next LF, which a CR has to precede. Other CRs are found where the line's bytes are judged.
fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = end
        .and_then(|end| bytes.split_at_checked(end + 1))
        .ok_or(Refusal::LineEnding)?;
    let line = line.strip_suffix(b"\r\n").ok_or(Refusal::LineEnding)?;
    Ok((line, rest))
}

/// Judges a request's first line, without its end.
pub(super) fn request_line(line: &[u8]) -> Result<Version, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let is_method = |byte: &u8| is_token(*byte) && !byte.is_ascii_lowercase();
    if method.is_empty() || method.len() > METHOD_MAX || !method.iter().all(is_method) {
        return Err(Refusal::Method);
    }
    if target.len() > TARGET_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if !target.iter().all(|byte| is_target(*byte)) {
        return Err(Refusal::Target);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', number @ ..] if is_version(number) => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::RequestLine),
    };
    if method == b"CONNECT" {
        return Err(Refusal::Connect);
    }
    let is_form = match target {
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        _ => has_prefix(target, b"http://") || has_prefix(target, b"https://"),
    };
    if is_form {
        Ok(version)
    } else {
        Err(Refusal::Target)
    }
}

fn is_version(number: &[u8]) -> bool {
    matches!(number, [major] if major.is_ascii_digit())
        || matches!(number, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn has_prefix(text: &[u8], prefix: &[u8]) -> bool {
    text.split_at_checked(prefix.len())
        .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(prefix) && !rest.is_empty())
}

/// What the fields say about the message itself.
#[derive(Debug, Default)]
struct Fields {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    coding: Option<Result<(), Refusal>>,
    upgrade: bool,
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (name, value) = field(line)?;
        self.count += 1;
        if self.count > HEADERS_MAX_USIZE {
            return Err(Refusal::TooManyFields);
        }
        // By length first: nearly every field is none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                expectation(value)?;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::ContentLengthRepeated);
                }
                self.length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let repeated = self.coding.is_some();
                self.coding = Some(if repeated {
                    Err(Refusal::TransferCoding)
                } else {
                    transfer_coding(value)
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match self.hosts {
            0 if version == Version::Http11 => return Err(Refusal::HostMissing),
            0 | 1 => {}
            _ => return Err(Refusal::HostRepeated),
        }
        match (self.coding, self.length) {
            (Some(_), _) if version == Version::Http10 => Err(Refusal::TransferCodingInOldVersion),
            (Some(_), Some(_)) => Err(Refusal::LengthAndCoding),
            (Some(coding), None) => coding.map(|()| Framing::Chunked),
            (None, None | Some(0)) if self.upgrade => Ok(Framing::Upgrade),
            (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// `name ":" OWS value OWS`, each octet judged. Trailers have the same form.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(Refusal::Folded);
    }
    let name_length = line.iter().take_while(|byte| is_token(**byte)).count();
    let Some((name, [b':', value @ ..])) = line.split_at_checked(name_length) else {
        return Err(Refusal::FieldName);
    };
    if name.is_empty() {
        return Err(Refusal::FieldName);
    }
    if !value.iter().all(|byte| is_value(*byte)) {
        return Err(if value.contains(&b'\r') {
            Refusal::LineEnding
        } else {
            Refusal::FieldValue
        });
    }
    Ok((name, trim(value)))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The only one there is.
fn expectation(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"100-continue") {
        Ok(())
    } else {
        Err(Refusal::Expectation)
    }
}

/// `1*DIGIT`, nothing else, below 2⁶³.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || value.len() > 19 {
        return Err(Refusal::ContentLength);
    }
    let mut length: u64 = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Refusal::ContentLength);
        }
        // 19 digits fit into 64 bits.
        length = length * 10 + u64::from(byte - b'0');
    }
    if i64::try_from(length).is_ok() {
        Ok(length)
    } else {
        Err(Refusal::ContentLength)
    }
}

/// `chunked` alone. A list of codings that ends with it is well formed, but nobody here would undo the others.
fn transfer_coding(value: &[u8]) -> Result<(), Refusal> {
    const KNOWN: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|byte| *byte == b',').map(trim);
    let last = codings.next().unwrap_or_default();
    let known = |coding: &[u8]| KNOWN.iter().any(|known| coding.eq_ignore_ascii_case(known));
    Err(
        if last.eq_ignore_ascii_case(b"chunked") && codings.all(known) {
            Refusal::TransferCodingUnknown
        } else {
            Refusal::TransferCoding
        },
    )
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

/// What each octet may be part of. A table: one load for each byte of each head.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut index = 0;
    let mut byte: u8 = 0;
    #[allow(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which would refuse it"
    )]
    while index < classes.len() {
        let token = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        if token {
            classes[index] |= TOKEN;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            classes[index] |= VALUE;
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            classes[index] |= TARGET;
        }
        index += 1;
        byte = byte.wrapping_add(1);
    }
    classes
};

fn has_class(byte: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|classes| classes & class != 0)
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    has_class(byte, TOKEN)
}

/// RFC 9110 §5.5: visible, white space, or of a former century (`obs-text`).
pub(super) fn is_value(byte: u8) -> bool {
    has_class(byte, VALUE)
}

fn is_target(byte: u8) -> bool {
    has_class(byte, TARGET)
}
