//! Where a token is in a request, and how it is taken out.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header};
use usher_config::model::TokenFrom;

use crate::error::TokenProblem;

/// The longest token that is looked at. Those of large directories, with a list of groups, have 4 KiB.
const TOKEN_MAX: usize = 8 * 1024;

/// The request's token; `None`: it has none there. Two are none that anybody could mean.
pub(super) fn token<'h>(
    headers: &'h HeaderMap,
    from: &TokenFrom,
) -> Result<Option<Cow<'h, str>>, TokenProblem> {
    let found = match from {
        TokenFrom::Bearer => match only(headers, &header::AUTHORIZATION)? {
            // Another scheme's credentials are the application's own affair.
            Some(value) => bearer(value),
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

fn only<'h>(
    headers: &'h HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'h str>, TokenProblem> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(TokenProblem::Malformed),
        },
        (Some(_), Some(_)) => Err(TokenProblem::Malformed),
    }
}

/// RFC 6750 §2.1; schemes are of either case.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| token.trim_start())
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, TokenProblem> {
    let fields = headers.get_all(header::COOKIE).iter();
    let fields = fields.filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(other, _)| *other == name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => Ok(Some(value.trim_matches('"'))),
        (Some(_), Some(_)) => Err(TokenProblem::Malformed),
    }
}

/// Takes the token out. Other cookies stay.
pub fn strip(headers: &mut HeaderMap, from: &TokenFrom) {
    let name = match from {
        TokenFrom::Bearer => return drop(headers.remove(header::AUTHORIZATION)),
        TokenFrom::Header(name) => return drop(headers.remove(name)),
        TokenFrom::Cookie(name) => name,
    };
    let stays = |pair: &&str| {
        let pair = pair.trim();
        let other = pair.split_once('=').map_or(pair, |(other, _)| other);
        !pair.is_empty() && other != &**name
    };
    let fields: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter(stays)
        .map(|pair| pair.trim().to_owned())
        .collect();
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::try_from(fields.join("; "))
        && !fields.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
}
