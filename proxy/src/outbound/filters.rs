//! Filters, as an application's requests meet them; what they do is `route::filter`'s to say.

use http::Request;

use crate::{
    error::{Flag, ProxyError},
    http::{Body, head},
    policy::retry::RequestTraits,
    route::{
        filter::{Answerer, Asked},
        path::PathError,
    },
    upstream::call::Outgoing,
    worker::Record,
};

use super::Routed;

/// What filters that answer look at; between application and sidecar there is no TLS.
pub(super) fn asked(incoming: &Request<Body>) -> Asked<'_> {
    Asked {
        method: incoming.method(),
        headers: incoming.headers(),
        uri: incoming.uri(),
        https: false,
        port: None,
    }
}

/// Changes the request. What may be repeated must be so as it was asked and as it is sent: a filter can neither make a
/// payment repeatable nor take away what its receiver would know it by.
///
/// # Errors
/// [`ProxyError::InvalidRequest`], [`ProxyError::Refused`]: the changed path is too long.
pub(super) fn edit(outgoing: &mut Outgoing, routed: &Routed) -> Result<(), ProxyError> {
    let malformed = |error: PathError| ProxyError::InvalidRequest {
        reason: error.slug(),
    };
    let edited = routed.filters.edit_request(&mut outgoing.head);
    outgoing.before_backend = edited.map_err(malformed)?;
    head::check_changed(&outgoing.head.uri)?;
    let retry = &routed.plan.treatment.policy.retry;
    let plain = outgoing.before_backend.as_deref();
    for head in [Some(&outgoing.head), plain].into_iter().flatten() {
        let sent = RequestTraits::of(retry, &head.method, head.uri.path(), &head.headers);
        outgoing.traits = outgoing.traits.both(sent);
    }
    Ok(())
}

/// Whose the response is.
pub(super) fn answerer(record: &Record) -> Answerer {
    if record.flags.has(Flag::Fb) {
        Answerer::StandIn
    } else {
        Answerer::Backend
    }
}
