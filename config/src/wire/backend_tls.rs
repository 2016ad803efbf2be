//! `BackendTls`.

use crate::{
    model::{AlternativeName, BackendTls, Origination, Roots},
    value::Hostname,
};

use super::{
    DecodeError,
    scalar::{Decoded, list, required, text},
    v1,
};

/// As many as configuration may give.
const NAMES_MAX: usize = 5;

impl From<&BackendTls> for v1::BackendTls {
    fn from(tls: &BackendTls) -> Self {
        match tls {
            BackendTls::Refused(why) => Self {
                refused: why.clone(),
                ..Self::default()
            },
            BackendTls::Verified(tls) => Self {
                hostname: tls.hostname.to_string(),
                names: tls.names.iter().map(Into::into).collect(),
                roots: match &tls.roots {
                    Roots::Web => String::new(),
                    Roots::Given(certificates) => certificates.to_string(),
                },
                refused: String::new(),
            },
        }
    }
}

impl From<&AlternativeName> for v1::AlternativeName {
    fn from(name: &AlternativeName) -> Self {
        use v1::alternative_name::Name;
        Self {
            name: Some(match name {
                AlternativeName::Dns(name) => Name::Dns(name.to_string()),
                AlternativeName::Uri(uri) => Name::Uri(uri.clone()),
            }),
        }
    }
}

pub(super) fn decode_backend_tls(message: v1::BackendTls) -> Decoded<BackendTls> {
    if !message.refused.is_empty() {
        return Ok(BackendTls::Refused(message.refused));
    }
    if message.names.len() > NAMES_MAX {
        return Err(DecodeError::at("names", message.names.len(), "at most 5"));
    }
    Ok(BackendTls::Verified(Origination {
        hostname: precise("hostname", &message.hostname)?,
        names: list("names", message.names, decode_name)?,
        roots: match message.roots.as_str() {
            "" => Roots::Web,
            roots => Roots::Given(text("roots", roots)?),
        },
    }))
}

fn decode_name(message: v1::AlternativeName) -> Decoded<AlternativeName> {
    use v1::alternative_name::Name;
    match required("name", message.name)? {
        Name::Dns(name) => Ok(AlternativeName::Dns(precise("dns", &name)?)),
        Name::Uri(uri) if uri.is_empty() => Err(DecodeError::at("uri", "nothing", "a URI")),
        Name::Uri(uri) => Ok(AlternativeName::Uri(uri)),
    }
}

fn precise(field: &str, name: &str) -> Decoded<Hostname> {
    if name.starts_with('*') {
        return Err(DecodeError::at(field, name, "a name without a wildcard"));
    }
    text(field, name)
}
