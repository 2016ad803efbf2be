//! Rate limits, once access is decided: refused callers use up nothing.

use std::{net::IpAddr, sync::Arc};

use http::{Method, Request, uri::Authority};
use smallvec::SmallVec;
use usher_config::{model::LimitWhen, value::SpiffeId};

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
    if policies.is_empty() {
        return Ok(());
    }
    let now = clock::now();
    let enforced = policies.iter().filter(|policy| !policy.model.dry_run);
    take(enforced, (arrived, now)).map_err(|refused| {
        refused.limit.beyond.add(worker.index, "refused");
        refused.error()
    })?;
    for policy in policies.iter().filter(|policy| policy.model.dry_run) {
        if let Err(refused) = take([policy].into_iter(), (arrived, now)) {
            refused.limit.beyond.add(worker.index, "dry_run");
        }
    }
    Ok(())
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
    (arrived, now): (Arrived<'_>, Tick),
) -> Result<(), Refused<'a>> {
    let mut taken: SmallVec<[(&LimitEntry, u128); 4]> = SmallVec::new();
    for policy in policies {
        for limit in &policy.limits {
            if !is_about(&limit.model.when, arrived.request) {
                continue;
            }
            let key = limit.limiter.key(&asked(&arrived));
            if let Err(beyond) = limit.limiter.take(key, now) {
                for (limit, key) in taken {
                    limit.limiter.give_back(key);
                }
                return Err(Refused {
                    policy,
                    limit,
                    beyond,
                });
            }
            taken.push((limit, key));
        }
    }
    Ok(())
}

fn asked<'a>(arrived: &Arrived<'a>) -> Asked<'a> {
    Asked {
        identity: arrived.identity,
        headers: arrived.request.headers(),
        path: arrived.request.uri().path(),
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
