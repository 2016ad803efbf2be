//! AuthenticationPolicies, widest to narrowest, → whose tokens are believed where.
//!
//! Field by field: `jwt` is the narrowest's, `mode` the last that is said; unless the Mesh allows loosening, both may only
//! become stricter on the way: no mode Optional after Required, and nobody believed whom the wider policy does not believe.
//! Where an issuer's tokens are, a policy that does not say leaves as it was; in places that another of them named, and that
//! do not count here, tokens are taken out. A
//! policy that never was valid refuses every request: whoever wrote it wanted to protect something. At services' own
//! sidecars that is an access rule like any other (see `access`), so that opaque streams meet it too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use usher_config::{
    kind::{self, AuthenticationMode, AuthenticationPolicy, Kind, ObjectKey},
    model::{Authentication, Gateway, JwtProvider, TokenFrom},
    value::{JwksUri, JwtAlgorithm, ServiceName},
};

use super::{
    Finding, Reason,
    claims::is_same,
    index::Index,
    rate_limits::report_unled,
    routes::targets_of_route,
    targets::{Target, Targets},
    written::{Written, written},
};

/// What holds at the instances of a service.
pub(super) fn of_service(
    (index, targets): (&Index<'_>, &Targets<'_>),
    service: &ServiceName,
    findings: &mut Vec<Finding>,
) -> Option<Authentication> {
    let wide_to_narrow = [
        Target::Mesh,
        Target::Namespace(service.namespace.clone()),
        Target::Service(service.clone()),
    ];
    let closed = closed(targets, &wide_to_narrow);
    closed.or_else(|| merge((index, targets), &wide_to_narrow, findings))
}

/// Where keys are fetched, and how often: as often as the most impatient policy wants.
pub(super) fn key_sources(index: &Index<'_>) -> BTreeMap<JwksUri, Duration> {
    let mut sources = BTreeMap::new();
    let policies = index.authentication.iter();
    for provider in policies.flat_map(|policy| &policy.object.spec.jwt) {
        let source = &provider.jwks;
        if let Some(uri) = &source.uri {
            let every = source.refresh_interval;
            let every = every.unwrap_or(kind::JwksSource::DEFAULT_REFRESH_INTERVAL);
            let known: &mut Duration = sources.entry(uri.clone()).or_insert(every.0);
            *known = every.0.min(*known);
        }
    }
    sources
}

/// What holds at gateways, for all requests and for those of routes that say more.
pub(super) fn of_gateways(
    (index, targets): (&Index<'_>, &Targets<'_>),
    gateways: &mut BTreeMap<ServiceName, Gateway>,
    findings: &mut Vec<Finding>,
) {
    for gateway in gateways.values_mut() {
        gateway.claim_headers.clone_from(&index.claim_headers);
    }
    if index.authentication.is_empty() && index.denied.is_empty() {
        return;
    }
    // What is wrong with routes has been reported by whoever compiled them.
    let routes = written(index, &mut Vec::new());
    let mut led = BTreeSet::new();
    for (name, gateway) in gateways.iter_mut() {
        let attached = gateway.listeners.iter().flat_map(|one| &one.routes);
        let attached: BTreeSet<Arc<str>> = attached.map(|one| one.route.name.clone()).collect();
        let own = Target::Gateway(name.clone());
        let scopes = [
            Target::Mesh,
            Target::Namespace(name.namespace.clone()),
            own.clone(),
        ];
        gateway.authentication = closed(targets, &scopes);
        if gateway.authentication.is_none() {
            let all = std::slice::from_ref(&own);
            gateway.authentication = merge((index, targets), all, findings);
            let of_routes = of_routes((index, targets), &routes, (&own, &attached), findings);
            gateway.route_authentication = of_routes;
        }
        led.extend(attached);
    }
    let policies = index.authentication.iter();
    let policies = policies.map(|policy| (policy.key, policy.object.spec.target_refs.as_slice()));
    report_unled(index, &led, policies, findings);
}

/// Of the rules attached to a gateway, those that say more than it does.
fn of_routes(
    (index, targets): (&Index<'_>, &Targets<'_>),
    routes: &[Written<'_>],
    (gateway, attached): (&Target, &BTreeSet<Arc<str>>),
    findings: &mut Vec<Finding>,
) -> Vec<(Arc<str>, Authentication)> {
    let mut all = Vec::new();
    for route in routes {
        for (number, rule) in route.rules.iter().enumerate() {
            let label = route.label(number);
            if !attached.contains(&label) {
                continue;
            }
            let own = targets_of_route(route.key, rule);
            let mut scopes = vec![Target::Namespace(route.key.namespace.clone())];
            scopes.extend(own.iter().cloned());
            let said = closed(targets, &scopes).or_else(|| {
                own.iter()
                    .find_map(|target| targets.authentication(target))?;
                let mut wide_to_narrow = vec![gateway.clone()];
                wide_to_narrow.extend(own);
                merge((index, targets), &wide_to_narrow, findings)
            });
            all.extend(said.map(|said| (label, said)));
        }
    }
    all
}

/// For what a policy that never was valid may have been meant.
fn closed(targets: &Targets<'_>, among: &[Target]) -> Option<Authentication> {
    let denied = among.iter().flat_map(|target| targets.denied(target));
    let mut denied = denied.filter(|key| key.kind == Kind::AuthenticationPolicy);
    denied.next().map(|key| Authentication {
        name: format!("{}/{}", key.namespace, key.name).into(),
        required: true,
        providers: Vec::new(),
        stripped: Vec::new(),
        invalid: true,
    })
}

fn merge(
    (index, targets): (&Index<'_>, &Targets<'_>),
    wide_to_narrow: &[Target],
    findings: &mut Vec<Finding>,
) -> Option<Authentication> {
    let held = wide_to_narrow.iter();
    let held = held.filter_map(|target| targets.authentication(target));
    let policies: Vec<&AuthenticationPolicy> = held.collect();
    let mut believing = policies.first()?;
    let mut places = Places::default();
    let loosening = index.mesh.allow_loosening.unwrap_or(false);
    let mut mode = None;
    let mut refused = Vec::new();
    for policy in &policies {
        match (mode, policy.spec.mode) {
            (None | Some(AuthenticationMode::Required), Some(AuthenticationMode::Optional))
                if !loosening && policies.first().is_some_and(|first| first != policy) =>
            {
                findings.push(loosens(
                    policy,
                    "spec.mode Optional is without effect: a wider policy says Required".to_owned(),
                ));
            }
            (_, Some(said)) => mode = Some(said),
            // Whoever says nothing at all requires one; who only narrows it leaves it as it is.
            (None, None) => mode = Some(AuthenticationMode::Required),
            (Some(_), None) => {}
        }
        match stranger(policy, believing).filter(|_| !loosening) {
            Some(issuer) => {
                let what = format!(
                    "spec.jwt is without effect: {} does not believe {issuer} with these keys, and its list holds",
                    key_of(believing)
                );
                refused.push((*policy, what, places.mention_written(policy)));
            }
            None => {
                places.believe(policy);
                believing = policy;
            }
        }
    }
    let providers = believing.spec.jwt.iter();
    let mut provider = |written| JwtProvider {
        from: places.of(written),
        ..provider(index, &key_of(believing), written, findings)
    };
    let providers: Vec<JwtProvider> = providers.map(&mut provider).collect();
    let stripped = places.unbelieved(&providers);
    for (policy, what, mut named) in refused {
        named.retain(|place| stripped.contains(place));
        findings.push(loosens(policy, what + &taken_out(&named)));
    }
    Some(Authentication {
        name: believing.full_name().to_string().into(),
        required: mode != Some(AuthenticationMode::Optional),
        stripped,
        providers,
        invalid: false,
    })
}

/// Where tokens are, as policies say from wide to narrow. One that does not say leaves an issuer's tokens where they were.
#[derive(Default)]
struct Places {
    /// Of the issuers that the last policy believes.
    believed: BTreeMap<String, TokenFrom>,
    /// Of all.
    named: Vec<TokenFrom>,
}

impl Places {
    fn believe(&mut self, policy: &AuthenticationPolicy) {
        self.mention(policy);
        let providers = policy.spec.jwt.iter();
        let places = providers.map(|one| (one.issuer.clone(), self.of(one)));
        self.believed = places.collect();
    }

    fn mention(&mut self, policy: &AuthenticationPolicy) {
        for provider in &policy.spec.jwt {
            self.name(self.of(provider));
        }
    }

    /// A policy whose issuers are not believed: whoever wrote it, or reads it, may look there all the same. Only in places
    /// that it writes itself: tokens that an application verifies on its own are in the usual one, and stay. Says which.
    fn mention_written(&mut self, policy: &AuthenticationPolicy) -> Vec<TokenFrom> {
        let providers = policy.spec.jwt.iter();
        let written: Vec<TokenFrom> = providers.filter_map(written_place).collect();
        for place in &written {
            self.name(place.clone());
        }
        written
    }

    fn name(&mut self, place: TokenFrom) {
        if !self.named.contains(&place) {
            self.named.push(place);
        }
    }

    fn of(&self, provider: &kind::JwtProvider) -> TokenFrom {
        let wider = || self.believed.get(&provider.issuer).cloned();
        written_place(provider)
            .or_else(wider)
            .unwrap_or(TokenFrom::Bearer)
    }

    /// Where nobody looks now: a token there is one that nobody has verified, and would reach an application that reads it.
    fn unbelieved(self, providers: &[JwtProvider]) -> Vec<TokenFrom> {
        let mut places = self.named;
        places.retain(|place| providers.iter().all(|one| one.from != *place));
        places
    }
}

fn written_place(provider: &kind::JwtProvider) -> Option<TokenFrom> {
    match (&provider.from.header, &provider.from.cookie) {
        (Some(header), _) => Some(TokenFrom::Header(header.clone())),
        (None, Some(cookie)) => Some(TokenFrom::Cookie(cookie.as_str().into())),
        (None, None) => None,
    }
}

/// What becomes of tokens in places where nobody looks.
fn taken_out(places: &[TokenFrom]) -> String {
    let name = |place: &TokenFrom| match place {
        TokenFrom::Bearer => "`Authorization: Bearer`".to_owned(),
        TokenFrom::Header(header) => format!("header `{header}`"),
        TokenFrom::Cookie(cookie) => format!("cookie `{cookie}`"),
    };
    let names: Vec<String> = places.iter().map(name).collect();
    match &names[..] {
        [] => String::new(),
        names => format!(
            "; what requests have in {} is taken out, as nobody verifies it",
            names.join(" and ")
        ),
    }
}

fn key_of(policy: &AuthenticationPolicy) -> ObjectKey {
    ObjectKey {
        kind: Kind::AuthenticationPolicy,
        namespace: policy.metadata.namespace.clone(),
        name: policy.metadata.name.clone(),
    }
}

/// An issuer whom the narrower policy believes and the wider does not.
fn stranger<'p>(
    narrower: &'p AuthenticationPolicy,
    wider: &AuthenticationPolicy,
) -> Option<&'p str> {
    let is_known =
        |one: &&kind::JwtProvider| wider.spec.jwt.iter().any(|other| is_same(one, other));
    let mut strangers = narrower.spec.jwt.iter().filter(|one| !is_known(one));
    strangers.next().map(|one| one.issuer.as_str())
}

fn loosens(policy: &AuthenticationPolicy, what: String) -> Finding {
    Finding {
        object: key_of(policy),
        reason: Reason::Loosens,
        message: format!("{what}; Mesh spec.allowLoosening is not set"),
    }
}

fn provider(
    index: &Index<'_>,
    policy: &ObjectKey,
    written: &kind::JwtProvider,
    findings: &mut Vec<Finding>,
) -> JwtProvider {
    let source = &written.jwks;
    let fetched = source.uri.as_ref().and_then(|uri| index.keys.get(uri));
    let keys = source.inline.as_ref().or(fetched);
    if let (None, Some(uri)) = (keys, &source.uri) {
        findings.push(Finding {
            object: policy.clone(),
            reason: Reason::NoKeys,
            message: format!(
                "the keys of {} could not be fetched from {uri} yet: until they are, all of its tokens are refused",
                written.issuer
            ),
        });
    }
    let default = [
        JwtAlgorithm::Rs256,
        JwtAlgorithm::Es256,
        JwtAlgorithm::EdDsa,
    ];
    let algorithms = written.algorithms.as_ref();
    JwtProvider {
        issuer: written.issuer.as_str().into(),
        audiences: written.audiences.clone(),
        keys: keys.map(|keys| keys.keys().to_vec()).unwrap_or_default(),
        algorithms: algorithms.map_or_else(
            || default.to_vec(),
            |all| all.iter().copied().map(algorithm).collect(),
        ),
        from: TokenFrom::Bearer,
        keep: written.forward == Some(kind::TokenForward::Keep),
        headers: written
            .claims_to_headers
            .iter()
            .map(|one| (one.claim.as_str().into(), one.header.clone()))
            .collect(),
    }
}

fn algorithm(written: kind::TokenAlgorithm) -> JwtAlgorithm {
    use kind::TokenAlgorithm as A;
    match written {
        A::Rs256 => JwtAlgorithm::Rs256,
        A::Rs384 => JwtAlgorithm::Rs384,
        A::Rs512 => JwtAlgorithm::Rs512,
        A::Ps256 => JwtAlgorithm::Ps256,
        A::Ps384 => JwtAlgorithm::Ps384,
        A::Ps512 => JwtAlgorithm::Ps512,
        A::Es256 => JwtAlgorithm::Es256,
        A::Es384 => JwtAlgorithm::Es384,
        A::EdDsa => JwtAlgorithm::EdDsa,
    }
}
