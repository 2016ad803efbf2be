//! Tokens, before anybody asks what their bearers may do.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use usher_config::value::is_like;

use crate::{
    clock,
    error::{ProxyError, TokenProblem},
    http::{Body, headers, unsaid},
    policy::{rate_limit::Claims, token::Believed},
    snapshot::TokensEntry,
    worker::Worker,
};

/// Longer values would not fit beside others into what most servers take for a head.
const VALUE_MAX: usize = 4 * 1024;

/// Takes away headers that only we write claims into, in every spelling that a server may take for them. For those of
/// trailers see [`unsaid::in_trailers`].
pub fn strip_claims(headers: &mut HeaderMap, ours: &[HeaderName]) {
    if !ours.is_empty() {
        headers::remove_where(headers, |name| {
            ours.iter().any(|one| is_like(name.as_str(), one.as_str()))
        });
    }
}

/// Whether opaque bytes are let in, which carry no token.
///
/// # Errors
/// [`ProxyError::Unauthenticated`].
pub fn needs_no_token(tokens: Option<&TokensEntry>) -> Result<(), ProxyError> {
    match tokens {
        Some(tokens) if tokens.authenticator.is_required() => Err(ProxyError::Unauthenticated {
            policy: tokens.authenticator.policy.clone(),
            why: TokenProblem::Missing,
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whose token it is, if the policy asks: its claims, of which some become headers. The token goes unless it is to be kept.
///
/// # Errors
/// [`ProxyError::Unauthenticated`].
pub fn authenticated(
    worker: &Worker,
    tokens: Option<&TokensEntry>,
    request: &mut Request<Body>,
) -> Result<Option<Claims>, ProxyError> {
    let Some(tokens) = tokens else {
        return Ok(None);
    };
    let authenticator = &tokens.authenticator;
    // A token that follows the body is one that nobody verifies.
    unsaid::in_trailers(request, authenticator.token_headers());
    let believed = authenticator.authenticate(request.headers(), clock::wall());
    let count = |outcome| tokens.outcomes.add(worker.index, outcome);
    match believed {
        Ok(None) => {
            count("anonymous");
            // Nor does what somebody else might take for one go on, which nobody has verified.
            authenticator.strip(request.headers_mut(), None);
            Ok(None)
        }
        Ok(Some(Believed { provider, claims })) => {
            count("believed");
            let headers = request.headers_mut();
            authenticator.strip(headers, Some(provider));
            for (claim, name) in &provider.headers {
                if let Some(value) = claims.get(&**claim).and_then(value) {
                    headers.insert(name.clone(), value);
                }
            }
            Ok(Some(claims))
        }
        Err(why) => {
            count(why.slug());
            Err(ProxyError::Unauthenticated {
                policy: authenticator.policy.clone(),
                why,
            })
        }
    }
}

/// Texts as they are, anything else as JSON; what no header can hold is left out.
fn value(claim: &serde_json::Value) -> Option<HeaderValue> {
    let text = match claim {
        serde_json::Value::Null => return None,
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fits = !text.is_empty() && text.len() <= VALUE_MAX;
    fits.then(|| HeaderValue::try_from(text).ok()).flatten()
}
