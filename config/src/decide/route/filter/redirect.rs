//! Redirects: where it is instead.

use std::fmt::Write as _;

use crate::model::Redirect;
use http::{HeaderValue, Response, header};

use super::{Asked, path};

/// `None`: the changed path is none; configuration cannot bring that about.
pub(super) fn answer(redirect: &Redirect, asked: &Asked<'_>) -> Option<Response<()>> {
    let location = HeaderValue::try_from(location(redirect, asked)?).ok()?;
    let mut response = Response::new(());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

/// Absolute, as a caller that was told another host or scheme needs it. A scheme that is given brings its own port, one
/// that is not leaves the request's; a port that is the scheme's own is left out.
fn location(redirect: &Redirect, asked: &Asked<'_>) -> Option<String> {
    let https = redirect.https.unwrap_or(asked.https);
    let requested = || asked.port.or_else(|| asked.uri.port_u16());
    let port = match (redirect.port, redirect.https) {
        (Some(port), _) => Some(port.get()),
        (None, Some(_)) => None,
        (None, None) => requested(),
    };
    let (scheme, own) = if https { ("https", 443) } else { ("http", 80) };
    let host = match &redirect.hostname {
        Some(host) => host.as_str(),
        None => asked.uri.host().unwrap_or_default(),
    };
    let mut location = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| *port != own) {
        let _ = write!(location, ":{port}");
    }
    match &redirect.path {
        Some(edit) => location.push_str(path::edited(edit, asked.uri).ok()?.as_str()),
        None if asked.uri.path() == "*" => location.push('/'),
        None => location.push_str(asked.uri.path_and_query()?.as_str()),
    }
    Some(location)
}
