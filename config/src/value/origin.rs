//! Origins of web pages (RFC 6454): which may call.

use std::{fmt, str::FromStr, sync::Arc};

use super::InvalidValue;

const ALLOWED: &str =
    "`*`, or `http(s)://host[:port]`, the host `*`, a DNS name, or one that begins with `*.`";

/// `*`, or `scheme://host[:port]` with a host that is `*`, a name, or `*.` and a name: any number of labels before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    text: Arc<str>,
    /// `None`: any origin at all.
    parts: Option<Parts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    https: bool,
    /// What must come before the port; after any labels, where `wildcard`.
    host: Arc<str>,
    wildcard: bool,
    port: u16,
}

impl OriginPattern {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `*` alone.
    pub fn is_any(&self) -> bool {
        self.parts.is_none()
    }

    /// Whether an `Origin` header's value is one of these. `null` is none but for `*`.
    pub fn matches(&self, origin: &str) -> bool {
        let Some(wanted) = &self.parts else {
            return true;
        };
        let Some((https, host, port)) = split(origin) else {
            return false;
        };
        if https != wanted.https || port != wanted.port || host.is_empty() {
            return false;
        }
        match (wanted.wildcard, wanted.host.len()) {
            (false, _) => host.eq_ignore_ascii_case(&wanted.host),
            (true, 0) => true,
            // The dot is part of it: `*.a` is not `a`, and not `ba`.
            (true, length) => {
                let at = host.len().checked_sub(length).filter(|at| *at > 0);
                let end = at.and_then(|at| host.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(&wanted.host))
            }
        }
    }
}

/// Scheme, host and port; the scheme's own port where none is written.
fn split(origin: &str) -> Option<(bool, &str, u16)> {
    let (scheme, rest) = origin.split_once("://")?;
    let https = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let own = if https { 443 } else { 80 };
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') || rest.contains("]:") => {
            Some((https, host, port.parse().ok()?))
        }
        _ => Some((https, rest, own)),
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue::new(text, ALLOWED);
        if text == "*" {
            let text = text.into();
            return Ok(Self { text, parts: None });
        }
        let (https, host, port) = split(text).ok_or_else(invalid)?;
        let (wildcard, host) = match host.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, host),
        };
        let name = if wildcard && !host.is_empty() {
            host.strip_prefix('.').ok_or_else(invalid)?
        } else {
            host
        };
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let bare = wildcard && name.is_empty();
        if text.len() > 253 || port == 0 || !(bare || name.split('.').all(label)) {
            return Err(invalid());
        }
        Ok(Self {
            text: text.into(),
            parts: Some(Parts {
                https,
                host: host.into(),
                wildcard,
                port,
            }),
        })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
