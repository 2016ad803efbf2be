//! What proxies are told that are too old for a policy. They drop what they do not know without a word, so whatever they would
//! serve unguarded they are told not to serve, in words that they have always known.

use std::{collections::BTreeMap, sync::Arc};

use usher_config::{
    model::{AccessPolicy, Gateway, InboundPolicy, RateLimits},
    value::ServiceName,
    wire::{client_feature, v1},
};

use crate::compile::Compiled;

use super::Resource;

/// How much of what guards a service a proxy understands; each one all that the one before does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Understands {
    /// Access policies.
    Access,
    /// Tokens and rate limits.
    Guards,
    /// Access rules about claims.
    #[default]
    Claims,
}

impl Understands {
    /// Of what a proxy says about itself.
    pub fn of(features: &[String]) -> Self {
        let has = |feature: &str| features.iter().any(|one| one == feature);
        match (
            has(client_feature::GUARDS),
            has(client_feature::CLAIM_RULES),
        ) {
            (false, _) => Self::Access,
            (true, false) => Self::Guards,
            (true, true) => Self::Claims,
        }
    }
}

/// Resources that differ from those which everybody else is told, by `namespace/name`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForOld {
    /// Of services with tokens or rate limits: nobody is let in.
    pub closed: BTreeMap<Arc<str>, Resource>,
    /// Of gateways with any, or that let strangers write claims: what would be served unguarded is answered with 500.
    pub closed_gateways: BTreeMap<Arc<str>, Resource>,
    /// Of services whose access rules ask for claims: without these rules, which else would allow whoever has none.
    pub without_claims: BTreeMap<Arc<str>, Resource>,
}

impl ForOld {
    /// Of what is configured.
    pub fn new(compiled: &Compiled) -> Self {
        Self {
            closed: made(&compiled.inbound, |policy| {
                closed(policy).map(|policy| Resource::encode(&v1::InboundPolicy::from(&policy)))
            }),
            closed_gateways: made(&compiled.gateways, |gateway| {
                closed_gateway(gateway)
                    .map(|gateway| Resource::encode(&v1::Gateway::from(&gateway)))
            }),
            without_claims: made(&compiled.inbound, |policy| {
                without_claims(policy)
                    .map(|policy| Resource::encode(&v1::InboundPolicy::from(&policy)))
            }),
        }
    }

    /// What a proxy is told instead of its inbound policy.
    pub fn inbound(&self, name: &str, understands: Understands) -> Option<(&Arc<str>, &Resource)> {
        let closed = self.closed.get_key_value(name);
        let closed = closed.filter(|_| understands < Understands::Guards);
        let without = self.without_claims.get_key_value(name);
        closed.or_else(|| without.filter(|_| understands < Understands::Claims))
    }

    /// What a proxy is told instead of its gateway.
    pub fn gateway(&self, name: &str, understands: Understands) -> Option<(&Arc<str>, &Resource)> {
        let closed = self.closed_gateways.get_key_value(name);
        closed.filter(|_| understands < Understands::Guards)
    }
}

/// Whether proxies that know no tokens and limits let nobody in.
pub fn closes(policy: &InboundPolicy) -> bool {
    closed(policy).is_some()
}

/// The same of gateways, which then answer something with 500.
pub fn closes_gateway(gateway: &Gateway) -> bool {
    closed_gateway(gateway).is_some()
}

/// Whether there are rules about claims, which proxies that know none are not told: they let in nobody by them.
pub fn asks_for_claims(policy: &InboundPolicy) -> bool {
    let asks = |access: &AccessPolicy| access.rules.iter().any(|rule| !rule.claims.is_empty());
    policy.access.iter().any(asks)
}

fn made<T>(
    all: &BTreeMap<ServiceName, T>,
    make: impl Fn(&T) -> Option<Resource>,
) -> BTreeMap<Arc<str>, Resource> {
    let made = all.iter();
    made.filter_map(|(name, one)| Some((name.to_string().into(), make(one)?)))
        .collect()
}

fn enforced<'a>(mut limits: impl Iterator<Item = &'a RateLimits>) -> Option<&'a RateLimits> {
    limits.find(|limits| !limits.dry_run)
}

fn closed(policy: &InboundPolicy) -> Option<InboundPolicy> {
    let tokens = policy.authentication.as_ref().map(|tokens| &tokens.name);
    let limits = enforced(policy.rate_limits.iter()).map(|limits| &limits.policy);
    let name = tokens.or(limits)?.clone();
    let mut policy = policy.clone();
    policy.access.push(AccessPolicy {
        name,
        deny_by_default: true,
        dry_run: false,
        rules: Vec::new(),
        invalid: true,
    });
    Some(policy)
}

/// Its guarded routes go on to take their requests, which else would be another route's, and lead nowhere. One that takes no
/// claims from strangers passes on what they say, and services believe it: nothing goes through.
fn closed_gateway(gateway: &Gateway) -> Option<Gateway> {
    let all = gateway.authentication.is_some()
        || !gateway.claim_headers.is_empty()
        || enforced(gateway.rate_limits.iter()).is_some();
    let is_guarded = |route: &Arc<str>| {
        let limits = gateway.route_limits.iter().filter(|(of, _)| of == route);
        let mut tokens = gateway.route_authentication.iter();
        all || tokens.any(|(of, _)| of == route)
            || enforced(limits.map(|(_, limits)| limits)).is_some()
    };
    let mut closed = gateway.clone();
    let listeners = closed.listeners.iter_mut();
    let routes = listeners.flat_map(|listener| &mut listener.routes);
    let mut some = false;
    for route in routes.filter(|route| is_guarded(&route.route.name)) {
        route.route.backends = Arc::default();
        route.route.filters = None;
        route.policies = Arc::default();
        some = true;
    }
    some.then_some(closed)
}

fn without_claims(policy: &InboundPolicy) -> Option<InboundPolicy> {
    asks_for_claims(policy).then(|| {
        let mut policy = policy.clone();
        for access in &mut policy.access {
            access.rules.retain(|rule| rule.claims.is_empty());
        }
        policy
    })
}
