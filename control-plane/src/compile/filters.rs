//! Filters as written → filters as applied: defaults filled in, references followed, header texts joined.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use usher_config::{
    kind::{self, HttpFilter, RedirectScheme},
    model::{Cors, Filters, HeaderEdits, Listed, Mirror, PathEdit, Redirect, Rewrite},
};

use super::{
    Finding, claims,
    references::{Referrer, Whose, follow},
};

/// Upstream's default of `Access-Control-Max-Age`, in seconds.
const CORS_MAX_AGE: u32 = 5;

/// `prefix` is what a `ReplacePrefixMatch` replaces. A mirror that leads nowhere is left out and reported.
pub(super) fn compile(
    referrer: &Referrer<'_>,
    written: &[HttpFilter],
    prefix: &str,
    findings: &mut Vec<Finding>,
) -> Option<Arc<Filters>> {
    if written.is_empty() {
        return None;
    }
    let mut filters = Filters::default();
    for filter in written {
        match filter {
            HttpFilter::RequestHeaderModifier(modifier) => {
                let is_claim =
                    claims::unwritable(referrer.index, referrer.object, modifier, findings);
                filters.request = edits(modifier);
                filters.request.set.retain(|(name, _)| !is_claim(name));
                filters.request.add.retain(|(name, _)| !is_claim(name));
            }
            HttpFilter::ResponseHeaderModifier(modifier) => filters.response = edits(modifier),
            HttpFilter::RequestMirror(written) => match mirror(referrer, written) {
                Ok(mirror) => filters.mirrors.push(mirror),
                Err(finding) => findings.push(finding),
            },
            HttpFilter::RequestRedirect(written) => {
                filters.redirect = Some(redirect(written, prefix));
            }
            HttpFilter::UrlRewrite(written) => {
                filters.rewrite = Some(Rewrite {
                    hostname: written.hostname.clone(),
                    path: written.path.as_ref().map(|path| path_edit(path, prefix)),
                });
            }
            HttpFilter::Cors(written) => filters.cors = Some(cors(written)),
        }
    }
    Some(Arc::new(filters))
}

fn edits(written: &kind::HeaderModifier) -> HeaderEdits {
    let headers = |headers: &[kind::ModifiedHeader]| -> Vec<(HeaderName, HeaderValue)> {
        let header =
            |header: &kind::ModifiedHeader| (header.name.clone(), header.value.value().clone());
        headers.iter().map(header).collect()
    };
    HeaderEdits {
        remove: written.remove.clone(),
        set: headers(&written.set),
        add: headers(&written.add),
    }
}

fn mirror(referrer: &Referrer<'_>, written: &kind::RequestMirror) -> Result<Mirror, Finding> {
    let backend = &written.backend_ref;
    let service = backend.service(&referrer.object.namespace);
    // Callers did not ask for the copy, so a route's own parent is no exception.
    let target = follow(referrer, service, backend.port, Whose::Any)
        .map_err(|broken| broken.finding(referrer.object, "nothing is mirrored to it"))?;
    let (numerator, denominator) = match (written.fraction, written.percent) {
        (Some(fraction), _) => (fraction.numerator, fraction.denominator.unwrap_or(100)),
        (None, Some(percent)) => (percent.get().into(), 100),
        (None, None) => (1, 1),
    };
    Ok(Mirror {
        target,
        numerator,
        denominator,
    })
}

fn redirect(written: &kind::RequestRedirect, prefix: &str) -> Redirect {
    let status = written
        .status_code
        .and_then(|code| StatusCode::from_u16(code).ok());
    Redirect {
        https: written.scheme.map(|scheme| scheme == RedirectScheme::Https),
        hostname: written.hostname.clone(),
        port: written.port,
        path: written.path.as_ref().map(|path| path_edit(path, prefix)),
        status: status.unwrap_or(StatusCode::FOUND),
    }
}

fn path_edit(written: &kind::PathModifier, prefix: &str) -> PathEdit {
    match written {
        kind::PathModifier::ReplaceFullPath(path) => PathEdit::Full(path.clone()),
        kind::PathModifier::ReplacePrefixMatch(replacement) => PathEdit::Prefix {
            matched: prefix.to_owned(),
            replacement: replacement.clone(),
        },
    }
}

fn cors(written: &kind::Cors) -> Cors {
    Cors {
        allow_origins: written.allow_origins.clone(),
        allow_credentials: written.allow_credentials.unwrap_or(false),
        allow_methods: listed(&written.allow_methods),
        allow_headers: listed(&written.allow_headers),
        expose_headers: listed(&written.expose_headers),
        max_age: Duration::from_secs(written.max_age.unwrap_or(CORS_MAX_AGE).into()),
    }
}

/// Names are tokens, so joining them always gives a header's value.
fn listed(names: &[String]) -> Listed {
    match names {
        [] => Listed::Nothing,
        [all] if all == "*" => Listed::Any,
        names => HeaderValue::try_from(names.join(", ")).map_or(Listed::Nothing, Listed::These),
    }
}
