//! Cross-origin resource sharing (Fetch standard, "CORS protocol"; GEP-1767).
//!
//! The origin that asked is answered, never `*`: that is right with credentials and without. So are the method and
//! headers that a preflight asks for, where all are allowed.

use crate::model::{Cors, Listed};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Asked;

/// All that speak of permission: the route speaks, not the backend.
const ANSWERS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// The answer to a preflight; `None`: it is none. An origin that is not allowed gets an answer without permission,
/// which is how a browser is told.
pub(super) fn preflight(cors: &Cors, asked: &Asked<'_>) -> Option<Response<()>> {
    let origin = asked.headers.get(header::ORIGIN)?;
    let method = asked.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if asked.method != Method::OPTIONS {
        return None;
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    vary(headers);
    if !allows(cors, origin) {
        return Some(response);
    }
    permit_origin(cors, origin, headers);
    let wanted = asked.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let lists = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            &cors.allow_methods,
            Some(method),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            &cors.allow_headers,
            wanted,
        ),
    ];
    for (name, allowed, wanted) in lists {
        let value = match allowed {
            Listed::Nothing => None,
            Listed::Any => wanted,
            Listed::These(names) => Some(names),
        };
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    let seconds = HeaderValue::from(cors.max_age.as_secs());
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds);
    Some(response)
}

/// Says in a response what its page may do with it.
pub(super) fn permit(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    for name in ANSWERS {
        headers.remove(name);
    }
    vary(headers);
    let Some(origin) = origin.filter(|origin| allows(cors, origin)) else {
        return;
    };
    let exposed = match &cors.expose_headers {
        Listed::Nothing => None,
        // With credentials browsers take `*` for a name: what is there is named instead.
        Listed::Any if cors.allow_credentials => named(headers),
        Listed::Any => Some(HeaderValue::from_static("*")),
        Listed::These(names) => Some(names.clone()),
    };
    permit_origin(cors, origin, headers);
    if let Some(exposed) = exposed {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn allows(cors: &Cors, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| {
        cors.allow_origins
            .iter()
            .any(|allowed| allowed.matches(origin))
    })
}

fn permit_origin(cors: &Cors, origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.allow_credentials {
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
}

/// The answer depends on who asks: a cache must not give it to another origin.
fn vary(headers: &mut HeaderMap) {
    let covers = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"origin")
        })
    };
    if !headers.get_all(header::VARY).iter().any(covers) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

fn named(headers: &HeaderMap) -> Option<HeaderValue> {
    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(", ")).ok()
}
