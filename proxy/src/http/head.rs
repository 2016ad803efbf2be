//! A request's head, checked and brought into one form before anything else looks at it.
//!
//! What two hops could read differently is never forwarded (SEMANTICS §10). Afterwards the URI has scheme,
//! authority and a normalised path, and `Host` is gone: there is one place for each fact.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;

use crate::{
    error::{ProxyError, Refusal},
    route::{
        authority,
        path::{self, PathReading},
    },
};

use super::{Body, headers, strict::TARGET_MAX};

/// Checks and normalises.
///
/// # Errors
/// [`ProxyError::InvalidRequest`], [`ProxyError::Refused`].
pub fn normalize(request: &mut Request<Body>, reading: PathReading) -> Result<(), ProxyError> {
    if let Some(refusal) = request.extensions().get::<Refusal>() {
        return Err(ProxyError::Refused { refusal: *refusal });
    }
    if request.method() == Method::CONNECT {
        return Err(refused(Refusal::Connect));
    }
    if request
        .method()
        .as_str()
        .bytes()
        .any(|byte| byte.is_ascii_lowercase())
    {
        return Err(refused(Refusal::Method));
    }
    join_cookies(request.headers_mut());
    check_headers(request.headers())?;
    let authority = authority_of(request)?;
    parse(authority.as_str())?;
    let path = path_of(request.uri(), reading)?;
    request.headers_mut().remove(header::HOST);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| invalid("malformed-target"))?;
    Ok(())
}

/// Checks a path that this proxy itself has changed: normal it is, but it may have become too long.
///
/// # Errors
/// [`ProxyError::InvalidRequest`], [`ProxyError::Refused`].
pub fn check_changed(uri: &Uri) -> Result<(), ProxyError> {
    path_of(uri, PathReading::LENIENT).map(drop)
}

/// As an HTTP/1.1 application expects it, whatever the caller spoke: origin form, the authority in `Host`.
pub fn to_origin_form(request: &mut Request<Body>) {
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers();
    if !request.body().is_end_stream() && !headers.contains_key(header::CONTENT_LENGTH) {
        // Left to itself hyper would take a GET's body for none and drop it.
        let chunked = HeaderValue::from_static("chunked");
        request
            .headers_mut()
            .insert(header::TRANSFER_ENCODING, chunked);
    }
    let uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = uri.authority
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = uri.path_and_query.map_or_else(Uri::default, Uri::from);
}

/// As a server expects it that is spoken to inside TLS: some refuse what says of itself that it came without
/// (RFC 9110 §7.4).
pub fn to_https(request: &mut Request<Body>) {
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    // What has no authority has no scheme either, and stays.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Browsers send each cookie in a field of its own over HTTP/2. HTTP/1.1 knows one field (RFC 9113 §8.2.3): servers that
/// find several join them with commas, and sessions are lost. Here and not on the way to HTTP/1.1 alone, so that many
/// cookies are not too many fields.
fn join_cookies(headers: &mut HeaderMap) {
    if !has_several(headers, &header::COOKIE) {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, cookie);
    }
}

fn invalid(reason: &'static str) -> ProxyError {
    ProxyError::InvalidRequest { reason }
}

fn refused(refusal: Refusal) -> ProxyError {
    ProxyError::Refused { refusal }
}

fn check_headers(headers: &HeaderMap) -> Result<(), ProxyError> {
    if headers.len() > headers::HEADERS_MAX_USIZE {
        return Err(refused(Refusal::TooManyFields));
    }
    // HTTP/1 has been judged before (`strict`); an HTTP/2 caller may have sent several of these too.
    if has_several(headers, &header::HOST) {
        return Err(refused(Refusal::HostRepeated));
    }
    if has_several(headers, &header::CONTENT_LENGTH) {
        return Err(refused(Refusal::ContentLengthRepeated));
    }
    Ok(())
}

fn has_several(headers: &HeaderMap, name: &header::HeaderName) -> bool {
    headers.len() > headers.keys_len() && headers.get_all(name).iter().nth(1).is_some()
}

/// The target's authority wins, as RFC 9112 §3.2.2 has it for proxies; a `Host` that means something else is
/// refused all the same.
fn authority_of(request: &Request<Body>) -> Result<Authority, ProxyError> {
    let host = request.headers().get(header::HOST);
    let Some(authority) = request.uri().authority() else {
        let host = host.ok_or(invalid("host-missing"))?;
        return Authority::try_from(host.as_bytes()).map_err(|_| invalid("host-malformed"));
    };
    if let Some(host) = host
        && !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        let host = host.to_str().map_err(|_| invalid("host-malformed"))?;
        let (host, target) = (parse(host)?, parse(authority.as_str())?);
        let port =
            |authority: &authority::Authority<'_>| authority.port.map_or(80, |port| port.get());
        if host.host != target.host || port(&host) != port(&target) {
            return Err(invalid("host-contradicts-target"));
        }
    }
    Ok(authority.clone())
}

/// Takes an authority apart, strictly.
///
/// # Errors
/// [`ProxyError::InvalidRequest`].
pub fn parse(text: &str) -> Result<authority::Authority<'_>, ProxyError> {
    authority::parse(text).map_err(|error| {
        invalid(match error {
            authority::AuthorityError::NoHost => "host-missing",
            authority::AuthorityError::UserInformation => "host-with-user-information",
            authority::AuthorityError::InvalidHost => "host-malformed",
            authority::AuthorityError::InvalidPort => "port-malformed",
        })
    })
}

fn path_of(uri: &Uri, reading: PathReading) -> Result<PathAndQuery, ProxyError> {
    let Some(path_and_query) = uri.path_and_query() else {
        return Ok(PathAndQuery::from_static("/"));
    };
    if path_and_query.as_str().len() > TARGET_MAX {
        return Err(refused(Refusal::TargetTooLong));
    }
    let normal = path::normalize(path_and_query.path(), reading);
    let normal = normal.map_err(|error| invalid(error.slug()))?;
    match normal {
        Cow::Borrowed(_) => Ok(path_and_query.clone()),
        Cow::Owned(mut path) => {
            if let Some(query) = path_and_query.query() {
                path.push('?');
                path.push_str(query);
            }
            PathAndQuery::try_from(path).map_err(|_| invalid("path-malformed"))
        }
    }
}
