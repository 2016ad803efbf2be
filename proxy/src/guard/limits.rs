//! Rate limits, once access is decided: refused callers use up nothing.
//!
//! At a gateway some come before tokens are looked at, because a bad one costs a signature and would cost it as often as
//! anybody likes: those that ask nothing of what a caller writes. With a header in it a key is the caller's choice, and who
//! has no token could use up the bucket of somebody who has; a claim is known later.

use std::{net::IpAddr, sync::Arc};

use http::{Method, Request, uri::Authority};
use smallvec::SmallVec;
use usher_config::{
    model::{LimitKey, LimitWhen, RateLimit},
    value::SpiffeId,
};

use crate::{
    clock::{self, Tick},
    error::{Exceeded, ProxyError},
    http::Body,
    policy::rate_limit::{Asked, Beyond, Claims},
    route,
    snapshot::{LimitEntry, LimitsEntry},
    worker::Worker,
};

/// A request, and what is known about who sent it.
#[derive(Clone, Copy)]
pub struct Arrived<'a> {
    /// Normalised.
    pub request: &'a Request<Body>,
    /// From the verified certificate.
    pub identity: Option<&'a SpiffeId>,
    /// The rule that took it, at a gateway.
    pub route: &'a str,
    /// Where it was made, at a gateway.
    pub source: Option<IpAddr>,
    /// Of its verified token.
    pub claims: Option<&'a Claims>,
}

/// What a request has been taken from.
#[derive(Default)]
pub struct Taken<'a>(SmallVec<[(&'a LimitEntry, u128); 4]>);

/// Which limits are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Those {
    All,
    BeforeTokens,
    AfterTokens,
}

/// Takes the request from every limit that is about it, or from none if one has no room. Those on trial are asked last, and
/// only count: they see what the others let through.
///
/// # Errors
/// [`ProxyError::RateLimited`].
pub fn within_limits(
    worker: &Worker,
    policies: &[Arc<LimitsEntry>],
    arrived: Arrived<'_>,
) -> Result<(), ProxyError> {
    within(worker, policies, (arrived, Those::All), Taken::default()).map(drop)
}

/// The same of the limits that come before tokens. If the token is refused, that stays taken.
///
/// # Errors
/// [`ProxyError::RateLimited`].
pub fn within_limits_before_tokens<'a>(
    worker: &Worker,
    policies: &'a [Arc<LimitsEntry>],
    arrived: Arrived<'_>,
) -> Result<Taken<'a>, ProxyError> {
    let those = Those::BeforeTokens;
    within(worker, policies, (arrived, those), Taken::default())
}

/// The same of the others. `taken`: before; given back if one of these has no room.
///
/// # Errors
/// [`ProxyError::RateLimited`].
pub fn within_limits_after_tokens<'a>(
    worker: &Worker,
    policies: &'a [Arc<LimitsEntry>],
    arrived: Arrived<'_>,
    taken: Taken<'a>,
) -> Result<(), ProxyError> {
    within(worker, policies, (arrived, Those::AfterTokens), taken).map(drop)
}

fn within<'a>(
    worker: &Worker,
    policies: &'a [Arc<LimitsEntry>],
    (arrived, those): (Arrived<'_>, Those),
    taken: Taken<'a>,
) -> Result<Taken<'a>, ProxyError> {
    if policies.is_empty() {
        return Ok(taken);
    }
    let asked = (arrived, those, clock::now());
    let enforced = policies.iter().filter(|policy| !policy.model.dry_run);
    let taken = take(enforced, asked, taken).map_err(|refused| {
        refused.limit.beyond.add(worker.index, "refused");
        refused.error()
    })?;
    for policy in policies.iter().filter(|policy| policy.model.dry_run) {
        if let Err(refused) = take([policy].into_iter(), asked, Taken::default()) {
            refused.limit.beyond.add(worker.index, "dry_run");
        }
    }
    Ok(taken)
}

impl Those {
    fn has(self, limit: &RateLimit) -> bool {
        let written = |part: &LimitKey| matches!(part, LimitKey::Header(_) | LimitKey::Claim(_));
        let is_early = limit.when.headers.is_empty() && !limit.key.iter().any(written);
        match self {
            Self::All => true,
            Self::BeforeTokens => is_early,
            Self::AfterTokens => !is_early,
        }
    }
}

/// By whom, and for how long.
struct Refused<'a> {
    policy: &'a LimitsEntry,
    limit: &'a LimitEntry,
    beyond: Beyond,
}

impl Refused<'_> {
    fn error(&self) -> ProxyError {
        ProxyError::RateLimited {
            policy: self.policy.model.policy.clone(),
            limit: self.limit.model.name.clone(),
            exceeded: Exceeded {
                requests: self.limit.model.requests,
                per: self.limit.model.per,
                wait: self.beyond.wait,
                whole: self.beyond.whole,
            },
        }
    }
}

/// One from each limit that is about the request, or from none.
fn take<'a>(
    policies: impl Iterator<Item = &'a Arc<LimitsEntry>>,
    (arrived, those, now): (Arrived<'_>, Those, Tick),
    mut taken: Taken<'a>,
) -> Result<Taken<'a>, Refused<'a>> {
    for policy in policies {
        for limit in &policy.limits {
            if !those.has(&limit.model) || !is_about(&limit.model.when, arrived.request) {
                continue;
            }
            let key = limit.limiter.key(&asked(&arrived));
            if let Err(beyond) = limit.limiter.take(key, now) {
                for (limit, key) in taken.0 {
                    limit.limiter.give_back(key);
                }
                return Err(Refused {
                    policy,
                    limit,
                    beyond,
                });
            }
            taken.0.push((limit, key));
        }
    }
    Ok(taken)
}

fn asked<'a>(arrived: &Arrived<'a>) -> Asked<'a> {
    Asked {
        identity: arrived.identity,
        headers: arrived.request.headers(),
        // Else each parameter that a caller makes up would have a bucket of its own.
        path: route::path::without_parameters(arrived.request.uri().path()),
        route: arrived.route,
        source: arrived.source,
        claims: arrived.claims,
    }
}

fn is_about(when: &LimitWhen, request: &Request<Body>) -> bool {
    let (uri, method): (_, &Method) = (request.uri(), request.method());
    let authority = uri.authority().map_or("", Authority::as_str);
    (when.methods.is_empty() || when.methods.contains(method))
        && (when.paths.is_empty() || when.paths.iter().any(|path| path.covers(uri.path())))
        && route::headers_match(&when.headers, request.headers(), authority)
}

#[cfg(test)]
mod tests;
