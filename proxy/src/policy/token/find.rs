//! Where a token is in a request, and how it is taken out.
//!
//! Whatever a server may take for a token is one here: what is not seen is not verified, and would reach an application
//! that believes whoever comes this way. So values are read as bytes, names in every spelling that a server may take for
//! them, and what nobody writes by mistake is malformed.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use usher_config::{model::TokenFrom, value::is_like};

use crate::error::TokenProblem;

/// The longest token that is looked at. Those of large directories, with a list of groups, have 4 KiB.
const TOKEN_MAX: usize = 8 * 1024;

const SCHEME: &[u8] = b"bearer";

/// The request's token; `None`: it has none there. Two are none that anybody could mean.
pub(super) fn token<'h>(
    headers: &'h HeaderMap,
    from: &TokenFrom,
) -> Result<Option<Cow<'h, str>>, TokenProblem> {
    let found = match from {
        TokenFrom::Bearer => match only(headers, &header::AUTHORIZATION)? {
            Some(value) => match bearer(value) {
                Some(token) => Some(token),
                // Another scheme's credentials are the application's own affair.
                None if !has_bearer(value.as_bytes()) => None,
                None => return Err(TokenProblem::Malformed),
            },
            None => None,
        },
        TokenFrom::Header(name) => {
            only(headers, name)?.map(|value| bearer(value).unwrap_or(value.trim()))
        }
        TokenFrom::Cookie(name) => cookie(headers, name)?,
    };
    match found {
        Some(token) if token.len() > TOKEN_MAX => Err(TokenProblem::TooLong),
        found => Ok(found.map(Cow::Borrowed)),
    }
}

/// Whether tokens of both are the same ones.
pub(super) fn is_same_place(one: &TokenFrom, other: &TokenFrom) -> bool {
    let is_authorization = |from: &TokenFrom| match from {
        TokenFrom::Bearer => true,
        TokenFrom::Header(name) => *name == header::AUTHORIZATION,
        TokenFrom::Cookie(_) => false,
    };
    one == other || (is_authorization(one) && is_authorization(other))
}

/// The value of a field that is there once, under exactly this name.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, TokenProblem> {
    let mut all = (headers.iter()).filter(|(other, _)| is_like(other.as_str(), name.as_str()));
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some((written, value)), None) if written == name => match value.to_str() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(TokenProblem::Malformed),
        },
        (Some(_), _) => Err(TokenProblem::Malformed),
    }
}

/// RFC 6750 §2.1; schemes are of either case, and end where servers end them: at any white space.
fn bearer(value: &str) -> Option<&str> {
    let value = value.trim();
    let (scheme, token) = match value.split_once(char::is_whitespace) {
        Some((scheme, token)) => (scheme, token.trim_start()),
        None => (value, ""),
    };
    scheme
        .as_bytes()
        .eq_ignore_ascii_case(SCHEME)
        .then_some(token)
}

/// Whether a lenient server may find a bearer's token in it.
fn has_bearer(value: &[u8]) -> bool {
    let mut all = value.windows(SCHEME.len());
    all.any(|part| part.eq_ignore_ascii_case(SCHEME))
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, TokenProblem> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| value_of(pair, name));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match std::str::from_utf8(value) {
            Ok(value) => Ok(Some(value.trim().trim_matches('"'))),
            Err(_) => Err(TokenProblem::Malformed),
        },
        (Some(_), Some(_)) => Err(TokenProblem::Malformed),
    }
}

/// A cookie's value, if it is called so.
fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (other, value) = pair.split_at_checked(equals)?;
    (bare(other) == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
}

/// A name without what servers trim: white space, of Unicode too, whatever they take the bytes for. A token's name is ASCII.
fn bare(name: &[u8]) -> &[u8] {
    let stays = |byte: &u8| byte.is_ascii_graphic();
    let begin = name.iter().position(stays).unwrap_or(name.len());
    let end = name.iter().rposition(stays).map_or(begin, |last| last + 1);
    name.get(begin..end).unwrap_or_default()
}

/// Takes the token out, in every spelling. Other cookies stay, and credentials of other schemes.
pub(super) fn strip(headers: &mut HeaderMap, from: &TokenFrom) {
    match from {
        TokenFrom::Bearer => {
            let mut all = headers.get_all(header::AUTHORIZATION).iter();
            if all.any(|value| has_bearer(value.as_bytes())) {
                headers.remove(header::AUTHORIZATION);
            }
        }
        TokenFrom::Header(name) => {
            let alike = headers.keys();
            let alike = alike.filter(|other| is_like(other.as_str(), name.as_str()));
            for other in alike.cloned().collect::<Vec<_>>() {
                headers.remove(other);
            }
        }
        TokenFrom::Cookie(name) => strip_cookie(headers, name),
    }
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs: Vec<&[u8]> = fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .collect();
    if !pairs.iter().any(|pair| value_of(pair, name).is_some()) {
        return;
    }
    let others = pairs.into_iter().map(<[u8]>::trim_ascii);
    let others = others.filter(|pair| !pair.is_empty() && value_of(pair, name).is_none());
    let others = others.collect::<Vec<_>>().join(&b"; "[..]);
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&others)
        && !others.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
}
