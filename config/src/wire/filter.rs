//! `Filters` of routes and backends.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    model::{Cors, Filters, HeaderEdits, Listed, Mirror, PathEdit, Redirect, Rewrite},
    value::{Hostname, OriginPattern, path},
};

use super::{
    DecodeError,
    policy::decode_header_name,
    route::decode_target,
    scalar::{Decoded, list, port, required, text},
    v1,
};

impl From<&Filters> for v1::Filters {
    fn from(filters: &Filters) -> Self {
        Self {
            request: edits(&filters.request),
            response: edits(&filters.response),
            redirect: filters.redirect.as_ref().map(Into::into),
            rewrite: filters.rewrite.as_ref().map(|rewrite| v1::Rewrite {
                hostname: host(rewrite.hostname.as_ref()),
                path: rewrite.path.as_ref().map(Into::into),
            }),
            mirrors: filters.mirrors.iter().map(Into::into).collect(),
            cors: filters.cors.as_ref().map(Into::into),
        }
    }
}

/// Absent: there are none.
pub(super) fn decode_filters(message: Option<v1::Filters>) -> Decoded<Option<Arc<Filters>>> {
    let Some(message) = message else {
        return Ok(None);
    };
    let filters = Filters {
        request: decode_edits(message.request).map_err(|e| e.under("request"))?,
        response: decode_edits(message.response).map_err(|e| e.under("response"))?,
        redirect: message.redirect.map(decode_redirect).transpose()?,
        rewrite: message.rewrite.map(decode_rewrite).transpose()?,
        mirrors: list("mirrors", message.mirrors, decode_mirror)?,
        cors: message.cors.map(decode_cors).transpose()?,
    };
    Ok(Some(Arc::new(filters)))
}

fn edits(edits: &HeaderEdits) -> Option<v1::HeaderEdits> {
    let headers = |headers: &[(HeaderName, HeaderValue)]| {
        let header = |(name, value): &(HeaderName, HeaderValue)| v1::Header {
            name: name.to_string(),
            value: value.to_str().unwrap_or_default().to_owned(),
        };
        headers.iter().map(header).collect()
    };
    (*edits != HeaderEdits::default()).then(|| v1::HeaderEdits {
        remove: edits.remove.iter().map(ToString::to_string).collect(),
        set: headers(&edits.set),
        add: headers(&edits.add),
    })
}

fn decode_edits(message: Option<v1::HeaderEdits>) -> Decoded<HeaderEdits> {
    let message = message.unwrap_or_default();
    let header = |header: v1::Header| {
        Ok((
            decode_header_name("name", &header.name)?,
            header_value("value", &header.value)?,
        ))
    };
    Ok(HeaderEdits {
        remove: list("remove", message.remove, |name| {
            decode_header_name("", &name)
        })?,
        set: list("set", message.set, header)?,
        add: list("add", message.add, header)?,
    })
}

fn header_value(field: &str, value: &str) -> Decoded<HeaderValue> {
    let plain = value
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    match HeaderValue::from_str(value) {
        Ok(value) if plain => Ok(value),
        _ => Err(DecodeError::at(field, value, "printable ASCII")),
    }
}

impl From<&PathEdit> for v1::PathEdit {
    fn from(edit: &PathEdit) -> Self {
        let kind = match edit {
            PathEdit::Full(path) => v1::path_edit::Kind::Full(path.clone()),
            PathEdit::Prefix {
                matched,
                replacement,
            } => v1::path_edit::Kind::Prefix(v1::PrefixEdit {
                matched: matched.clone(),
                replacement: replacement.clone(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

fn decode_path(message: v1::PathEdit) -> Decoded<PathEdit> {
    let normal = |path: String| {
        if path::is_normal(&path) {
            Ok(path)
        } else {
            Err(DecodeError::at("path", path, "a normal path"))
        }
    };
    Ok(match required("path", message.kind)? {
        v1::path_edit::Kind::Full(path) => PathEdit::Full(normal(path)?),
        v1::path_edit::Kind::Prefix(edit) => PathEdit::Prefix {
            matched: if path::is_normal(&edit.matched) {
                edit.matched
            } else {
                return Err(DecodeError::at("path", edit.matched, "a normal path"));
            },
            replacement: if edit.replacement.is_empty() {
                edit.replacement
            } else {
                normal(edit.replacement)?
            },
        },
    })
}

fn host(host: Option<&Hostname>) -> String {
    host.map(ToString::to_string).unwrap_or_default()
}

fn decode_host(name: &str) -> Decoded<Option<Hostname>> {
    match name {
        "" => Ok(None),
        wild if wild.starts_with('*') => Err(DecodeError::at(
            "hostname",
            wild,
            "a name without a wildcard",
        )),
        name => text("hostname", name).map(Some),
    }
}

impl From<&Redirect> for v1::Redirect {
    fn from(redirect: &Redirect) -> Self {
        let scheme = match redirect.https {
            None => v1::redirect::Scheme::AsRequested,
            Some(false) => v1::redirect::Scheme::Http,
            Some(true) => v1::redirect::Scheme::Https,
        };
        Self {
            scheme: scheme.into(),
            hostname: host(redirect.hostname.as_ref()),
            port: redirect.port.map_or(0, |port| port.get().into()),
            path: redirect.path.as_ref().map(Into::into),
            status: redirect.status.as_u16().into(),
        }
    }
}

fn decode_redirect(message: v1::Redirect) -> Decoded<Redirect> {
    let https = match v1::redirect::Scheme::try_from(message.scheme) {
        Ok(v1::redirect::Scheme::AsRequested) => None,
        Ok(v1::redirect::Scheme::Http) => Some(false),
        Ok(v1::redirect::Scheme::Https) => Some(true),
        Err(_) => {
            let allowed = "a scheme of this version (0-2)";
            return Err(DecodeError::at("redirect.scheme", message.scheme, allowed));
        }
    };
    let status = u16::try_from(message.status)
        .ok()
        .filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308))
        .and_then(|status| StatusCode::from_u16(status).ok());
    let allowed = "301, 302, 303, 307 or 308";
    Ok(Redirect {
        https,
        hostname: decode_host(&message.hostname)?,
        port: match message.port {
            0 => None,
            number => Some(port("redirect.port", number)?),
        },
        path: message.path.map(decode_path).transpose()?,
        status: status
            .ok_or_else(|| DecodeError::at("redirect.status", message.status, allowed))?,
    })
}

fn decode_rewrite(message: v1::Rewrite) -> Decoded<Rewrite> {
    Ok(Rewrite {
        hostname: decode_host(&message.hostname)?,
        path: message.path.map(decode_path).transpose()?,
    })
}

impl From<&Mirror> for v1::Mirror {
    fn from(mirror: &Mirror) -> Self {
        Self {
            target: Some((&mirror.target).into()),
            numerator: mirror.numerator,
            denominator: mirror.denominator,
        }
    }
}

fn decode_mirror(message: v1::Mirror) -> Decoded<Mirror> {
    if message.denominator == 0 {
        return Err(DecodeError::at("denominator", 0, "at least 1"));
    }
    Ok(Mirror {
        target: decode_target(&required("target", message.target)?)?,
        numerator: message.numerator,
        denominator: message.denominator,
    })
}

impl From<&Cors> for v1::Cors {
    fn from(cors: &Cors) -> Self {
        let listed = |listed: &Listed| match listed {
            Listed::Nothing => String::new(),
            Listed::Any => "*".to_owned(),
            Listed::These(names) => names.to_str().unwrap_or_default().to_owned(),
        };
        Self {
            allow_origins: cors.allow_origins.iter().map(ToString::to_string).collect(),
            allow_credentials: cors.allow_credentials,
            allow_methods: listed(&cors.allow_methods),
            allow_headers: listed(&cors.allow_headers),
            expose_headers: listed(&cors.expose_headers),
            max_age_seconds: u32::try_from(cors.max_age.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

fn decode_cors(message: v1::Cors) -> Decoded<Cors> {
    let listed = |field: &str, names: &str| match names {
        "" => Ok(Listed::Nothing),
        "*" => Ok(Listed::Any),
        names => header_value(field, names).map(Listed::These),
    };
    Ok(Cors {
        allow_origins: list("allow_origins", message.allow_origins, |origin| {
            text::<OriginPattern>("", &origin)
        })?,
        allow_credentials: message.allow_credentials,
        allow_methods: listed("allow_methods", &message.allow_methods)?,
        allow_headers: listed("allow_headers", &message.allow_headers)?,
        expose_headers: listed("expose_headers", &message.expose_headers)?,
        max_age: Duration::from_secs(message.max_age_seconds.into()),
    })
}
