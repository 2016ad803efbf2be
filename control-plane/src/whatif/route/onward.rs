//! From a route on: what its filters do, who gets which share, how it is treated, and whether it is let in there.

use std::sync::Arc;

use http::{HeaderMap, Request, Uri, request};
use serde::Serialize;
use usher_config::{
    decide::{
        access::{Access, HttpAccess},
        route::filter::{Asked, Chain},
    },
    model::{
        self, BackendTarget, FallbackTarget, Protocol, Route, Service, ServiceTarget, TrafficPolicy,
    },
    value::{Port, SpiffeId, format_duration},
};

use super::{End, Journey, Known, Seen};
use crate::whatif::access::{Permission, known_claims, permission};

/// A share of requests, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// `namespace/service:port`; empty where the reference leads nowhere.
    pub service: String,
    /// Of `of`.
    pub weight: u32,
    /// The sum of the weights; never 0.
    pub of: u64,
    /// What it gets: `METHOD URL`, where filters change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sees: Option<String>,
    /// Headers that filters write, change or take away: `name: value`, `- name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Who gets copies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// Instead of being forwarded, this share is answered: `301 https://…`, or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
    /// How it is treated on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Whether it is let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Permission>,
}

/// What becomes of a share that is not forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instead {
    /// HTTP's.
    pub status: u16,
    /// As in logs and metrics; `None`: a filter answers, which is no failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<&'static str>,
    /// One line.
    pub because: String,
}

impl Backend {
    /// Whether it reaches an application, or a filter answers it.
    pub(super) fn is_good(&self) -> bool {
        let answered = self
            .instead
            .as_ref()
            .is_none_or(|instead| instead.status < 400);
        answered && self.access.as_ref().is_none_or(|access| access.allowed)
    }
}

/// What of a treatment people ask for first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The narrowest object that contributed; empty: defaults only.
    pub name: String,
    /// `timeouts.request`, or `unlimited`.
    pub request_timeout: String,
    /// `retry.attempts`.
    pub retries: u32,
    /// Whether there is a breaker.
    pub breaker: bool,
    /// Who answers instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The FaultPolicy that delays or aborts some until it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl From<&TrafficPolicy> for Policy {
    fn from(policy: &TrafficPolicy) -> Self {
        let unlimited = || "unlimited".to_owned();
        Self {
            name: policy.name.to_string(),
            request_timeout: policy
                .timeouts
                .request
                .map_or_else(unlimited, format_duration),
            retries: policy.retry.attempts,
            breaker: policy.breaker.is_some(),
            fallback: policy
                .fallback
                .as_ref()
                .map(|fallback| match &fallback.target {
                    FallbackTarget::Service(target) => shown(target),
                    FallbackTarget::Response(response) => {
                        format!("the response {}", response.status)
                    }
                }),
            fault: policy.fault.as_ref().map(|fault| fault.name.to_string()),
        }
    }
}

/// No route has a say: to the service itself.
pub(super) fn to_service(
    known: Known<'_>,
    mut journey: Journey,
    (service, port): (&Service, Port),
    (seen, caller): (&Seen<'_>, &SpiffeId),
) -> Journey {
    let target = ServiceTarget {
        service: service.name.clone(),
        port,
    };
    let backend = Backend {
        policy: Some(Policy::from(&*service.policy)),
        access: let_in(
            known,
            &target,
            Some(caller),
            (&seen.imagined.method, seen.uri.path()),
        ),
        ..empty(&target, 1, 1)
    };
    journey.end = End::Forwarded {
        backends: vec![backend],
    };
    journey
}

/// By a rule and its policies, one for each backend (`None`: the service's own).
pub(super) fn by_rule(
    known: Known<'_>,
    mut journey: Journey,
    (route, policies): (&Route, &[Option<Arc<TrafficPolicy>>]),
    (asked, caller): (&Asked<'_>, Option<&SpiffeId>),
) -> Journey {
    let of_rule = Chain::of_rule(route.filters.as_ref(), asked.headers);
    if let Some(answer) = of_rule.answer(asked) {
        journey.end = End::Answered {
            status: answer.status().as_u16(),
            headers: changes(&HeaderMap::new(), answer.headers()),
        };
        return journey;
    }
    let weights = route
        .backends
        .iter()
        .map(|backend| u64::from(backend.weight.get()));
    let of: u64 = weights.sum();
    if of == 0 {
        let why = unresolvable("the rule has no backend with a weight above 0");
        return journey.refused(500, "NC", why);
    }
    let shares = route.backends.iter().zip(policies);
    let shares = shares.filter(|(backend, _)| backend.weight.get() > 0);
    let backends = shares.map(|(backend, policy)| {
        let mut chain = of_rule.clone();
        chain.for_backend(backend.filters.as_ref(), asked.headers);
        share(
            known,
            (backend, policy.as_ref()),
            (asked, &chain),
            (of, caller),
        )
    });
    journey.end = End::Forwarded {
        backends: backends.collect(),
    };
    journey
}

fn share(
    known: Known<'_>,
    (backend, policy): (&model::Backend, Option<&Arc<TrafficPolicy>>),
    (asked, chain): (&Asked<'_>, &Chain),
    (of, caller): (u64, Option<&SpiffeId>),
) -> Backend {
    let weight = backend.weight.get();
    let refused = |status, flag, because| {
        Some(Instead {
            status,
            flag: Some(flag),
            because,
        })
    };
    let target = match &backend.target {
        BackendTarget::Service(target) => target,
        BackendTarget::Invalid(why) => {
            return Backend {
                service: String::new(),
                instead: refused(500, "NC", unresolvable(why)),
                ..none(weight, of)
            };
        }
    };
    let mut told = empty(target, weight, of);
    if let Some(answer) = chain.answer(asked) {
        let location = answer.headers().get(http::header::LOCATION);
        let location = location
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        told.instead = Some(Instead {
            status: answer.status().as_u16(),
            flag: None,
            because: format!("its filters answer: {location}"),
        });
        return told;
    }
    let service = known.compiled.services.get(&target.service);
    let port = service.and_then(|service| service.port(target.port.get()));
    if port.is_some_and(|port| port.protocol == Protocol::Tcp) {
        let why = unresolvable("the backend's port is declared as opaque");
        told.instead = refused(500, "NC", why);
        return told;
    }
    let mut head = head(asked);
    if let Err(error) = chain.edit_request(&mut head) {
        told.instead = refused(400, "DPE", error.to_string());
        return told;
    }
    let changed = head.uri != *asked.uri;
    told.sees = changed.then(|| format!("{} {}", head.method, head.uri));
    told.headers = changes(asked.headers, &head.headers);
    told.mirrors = chain
        .mirrors()
        .map(|mirror| {
            let (some, all) = (mirror.numerator, mirror.denominator);
            format!("{some} of {all} to {}", shown(&mirror.target))
        })
        .collect();
    let policy = policy.or(service.map(|service| &service.policy));
    told.policy = policy.map(|policy| Policy::from(&**policy));
    told.access = let_in(known, target, caller, (asked.method, head.uri.path()));
    told
}

/// As the answer itself says it.
fn unresolvable(why: &str) -> String {
    format!("backend-unresolvable: {why}")
}

fn head(asked: &Asked<'_>) -> request::Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = asked.method.clone();
    head.uri = Uri::clone(asked.uri);
    head.headers = asked.headers.clone();
    head
}

fn let_in(
    known: Known<'_>,
    target: &ServiceTarget,
    caller: Option<&SpiffeId>,
    (method, path): (&http::Method, &str),
) -> Option<Permission> {
    let workload = known.compiled.inbound.get(&target.service)?;
    let (claims, ignored) = known_claims(workload, known.claims);
    let asked = Access {
        caller,
        port: target.port,
        http: Some(HttpAccess {
            method,
            path,
            claims,
        }),
    };
    let mut told = permission(workload, &asked, known.places);
    told.ignored.extend(ignored);
    Some(told)
}

/// What became of headers.
fn changes(before: &HeaderMap, after: &HeaderMap) -> Vec<String> {
    let mut told = Vec::new();
    for name in after.keys() {
        let values = |headers: &HeaderMap| -> Vec<String> {
            let all = headers.get_all(name).iter();
            all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect()
        };
        let now = values(after);
        if values(before) != now {
            told.push(format!("{name}: {}", now.join(", ")));
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    told.extend(gone.map(|name| format!("- {name}")));
    told
}

fn shown(target: &ServiceTarget) -> String {
    format!("{}:{}", target.service, target.port)
}

fn empty(target: &ServiceTarget, weight: u32, of: u64) -> Backend {
    Backend {
        service: shown(target),
        ..none(weight, of)
    }
}

fn none(weight: u32, of: u64) -> Backend {
    Backend {
        service: String::new(),
        weight,
        of,
        sees: None,
        headers: Vec::new(),
        mirrors: Vec::new(),
        instead: None,
        policy: None,
        access: None,
    }
}
