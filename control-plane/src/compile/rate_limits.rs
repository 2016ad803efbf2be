//! RateLimitPolicies → what services' own sidecars and gateways count.
//!
//! Of Mesh, Namespace and Service the narrowest holds alone. A Gateway's holds for all that comes through it, and beside it
//! the narrowest of route and rule: whoever may write routes must not be able to lift what the gateway's operator asked for.
//! A policy on trial (`dryRun`) displaces nothing that is enforced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::{
    kind::{self, ObjectKey, RateLimitPolicy, TargetRef},
    model::{Gateway, LimitKey, LimitWhen, RateLimit, RateLimits},
    value::ServiceName,
};

use super::{
    Finding, Reason, access,
    index::Index,
    matches,
    routes::targets_of_route,
    targets::{Target, Targets},
    written::written,
};

/// What the instances of a service count.
pub(super) fn of_service(targets: &Targets<'_>, service: &ServiceName) -> Vec<RateLimits> {
    let wide_to_narrow = [
        Target::Mesh,
        Target::Namespace(service.namespace.clone()),
        Target::Service(service.clone()),
    ];
    narrowest(targets, &wide_to_narrow)
}

/// What gateways count, for all their requests and for those of single routes.
pub(super) fn of_gateways(
    (index, targets): (&Index<'_>, &Targets<'_>),
    gateways: &mut BTreeMap<ServiceName, Gateway>,
    findings: &mut Vec<Finding>,
) {
    if index.rate_limits.is_empty() {
        return;
    }
    let by_route = by_route(index, targets);
    let mut led = BTreeSet::new();
    for (name, gateway) in gateways.iter_mut() {
        gateway.rate_limits = narrowest(targets, &[Target::Gateway(name.clone())]);
        let routes = gateway.listeners.iter().flat_map(|one| &one.routes);
        let names: BTreeSet<Arc<str>> = routes.map(|route| route.route.name.clone()).collect();
        for name in &names {
            let limits = by_route.get(name).into_iter().flatten();
            let limits = limits.map(|limits| (name.clone(), limits.clone()));
            gateway.route_limits.extend(limits);
        }
        led.extend(names);
    }
    let policies = index.rate_limits.iter();
    let policies = policies.map(|policy| (policy.key, policy.object.spec.target_refs.as_slice()));
    report_unled(index, &led, policies, findings);
}

/// By the label of a rule.
fn by_route(index: &Index<'_>, targets: &Targets<'_>) -> BTreeMap<Arc<str>, Vec<RateLimits>> {
    let mut by_route = BTreeMap::new();
    // What is wrong with routes has been reported by whoever compiled them.
    for written in written(index, &mut Vec::new()) {
        for (number, rule) in written.rules.iter().enumerate() {
            let limits = narrowest(targets, &targets_of_route(written.key, rule));
            if !limits.is_empty() {
                by_route.insert(written.label(number), limits);
            }
        }
    }
    by_route
}

/// A called service's sidecar knows no routes, so what a policy says of a route holds at gateways or nowhere.
pub(super) fn report_unled<'a>(
    index: &Index<'_>,
    led: &BTreeSet<Arc<str>>,
    policies: impl Iterator<Item = (&'a ObjectKey, &'a [TargetRef])>,
    findings: &mut Vec<Finding>,
) {
    for (policy, references) in policies {
        for reference in references {
            let target = Target::of(reference, &policy.namespace);
            let Target::Route(route, _) = &target else {
                continue;
            };
            let ObjectKey {
                kind,
                namespace,
                name,
            } = route;
            let prefix = format!("{kind}/{namespace}/{name}/");
            if target.exists(index) && !led.iter().any(|label| label.starts_with(&prefix)) {
                findings.push(Finding {
                    object: policy.clone(),
                    reason: Reason::NotEnforced,
                    message: format!(
                        "{route} hangs on no Gateway, and a service's sidecar knows no routes: name the Service"
                    ),
                });
            }
        }
    }
}

/// The narrowest that is enforced, and the narrowest of all if that one is on trial.
fn narrowest(targets: &Targets<'_>, wide_to_narrow: &[Target]) -> Vec<RateLimits> {
    let is_trial = |policy: &RateLimitPolicy| policy.spec.dry_run.unwrap_or(false);
    let held = |target| targets.rate_limits(target).map(|policy| (target, policy));
    let all: Vec<(&Target, &RateLimitPolicy)> =
        wide_to_narrow.iter().rev().filter_map(held).collect();
    let enforced = all.iter().find(|(_, policy)| !is_trial(policy));
    let trial = all.first().filter(|(_, policy)| is_trial(policy));
    let resolve = |(target, policy): &(&Target, &RateLimitPolicy)| RateLimits {
        policy: policy.full_name().to_string().into(),
        target: target.describe().into(),
        dry_run: is_trial(policy),
        limits: policy.spec.limits.iter().map(limit).collect(),
    };
    enforced.into_iter().chain(trial).map(resolve).collect()
}

fn limit(written: &kind::RateLimit) -> RateLimit {
    let when = &written.when;
    RateLimit {
        name: written.name.as_str().into(),
        requests: written.requests,
        per: written.per.into(),
        burst: written.burst.unwrap_or(written.requests),
        key: written.key.iter().map(key).collect(),
        keys_max: written
            .max_keys
            .unwrap_or(kind::RateLimit::DEFAULT_MAX_KEYS),
        when: LimitWhen {
            methods: when.methods.iter().map(|method| (*method).into()).collect(),
            paths: when.paths.iter().map(access::path).collect(),
            headers: matches::headers(&when.headers),
        },
    }
}

fn key(written: &kind::LimitKey) -> LimitKey {
    match written {
        kind::LimitKey::Identity {} => LimitKey::Identity,
        kind::LimitKey::Header(name) => LimitKey::Header(name.clone()),
        kind::LimitKey::Claim(name) => LimitKey::Claim(name.as_str().into()),
        kind::LimitKey::Path {} => LimitKey::Path,
        kind::LimitKey::Route {} => LimitKey::Route,
        kind::LimitKey::Source {} => LimitKey::Source,
    }
}
