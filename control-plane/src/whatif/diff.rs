//! What another configuration would change, and in which proxies.

use std::collections::BTreeSet;

use serde::Serialize;
use usher_config::{
    model::{Gateway, InboundPolicy, MtlsMode, Service},
    value::ServiceName,
};

use crate::{compile::Compiled, status::ProxyReport};

/// Something that proxies are told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// `callers of Service namespace/name`, `instances of namespace/name`, `Gateway namespace/name`.
    pub of: String,
    /// In what way: `routes`, `policy`, `added`.
    pub what: Vec<&'static str>,
    /// Those that are connected now and will be told, by node.
    pub proxies: Vec<String>,
    /// Who gets in that was kept out, where no AccessPolicy refuses anything any more and one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unguarded: Option<&'static str>,
}

/// All of them, by name.
pub fn effects(before: &Compiled, after: &Compiled, proxies: &[ProxyReport]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for name in names(before.services.keys(), after.services.keys()) {
        let (old, new) = (before.services.get(name), after.services.get(name));
        let calls = |proxy: &&ProxyReport| proxy.calls.contains(&name.to_string());
        let what = what(old, new, service);
        let of = format!("callers of Service {name}");
        effects.extend(effect(of, what, proxies.iter().filter(calls)));
    }
    let is_of = |proxy: &ProxyReport, name: &ServiceName| {
        let service = proxy.node.rsplit_once('/').map(|(service, _)| service);
        service == Some(name.to_string().as_str())
    };
    for name in names(before.inbound.keys(), after.inbound.keys()) {
        let (old, new) = (before.inbound.get(name), after.inbound.get(name));
        let what = what(old, new, inbound);
        let own = proxies.iter().filter(|proxy| is_of(proxy, name));
        let effect = effect(format!("instances of {name}"), what, own);
        effects.extend(effect.map(|effect| Effect {
            unguarded: old.zip(new).and_then(|(old, new)| unguarded(old, new)),
            ..effect
        }));
    }
    for name in names(before.gateways.keys(), after.gateways.keys()) {
        let (old, new) = (before.gateways.get(name), after.gateways.get(name));
        let what = what(old, new, gateway);
        let own = proxies
            .iter()
            .filter(|proxy| proxy.is_gateway && is_of(proxy, name));
        effects.extend(effect(format!("Gateway {name}"), what, own));
    }
    effects
}

fn names<'n>(
    old: impl Iterator<Item = &'n ServiceName>,
    new: impl Iterator<Item = &'n ServiceName>,
) -> BTreeSet<&'n ServiceName> {
    old.chain(new).collect()
}

fn effect<'p>(
    of: String,
    what: Vec<&'static str>,
    proxies: impl Iterator<Item = &'p ProxyReport>,
) -> Option<Effect> {
    let proxies = proxies.map(|proxy| proxy.node.clone()).collect();
    (!what.is_empty()).then_some(Effect {
        of,
        what,
        proxies,
        unguarded: None,
    })
}

/// That a policy is gone, or on trial only, is easily overlooked in an edit: what it closed is open then.
fn unguarded(old: &InboundPolicy, new: &InboundPolicy) -> Option<&'static str> {
    let is_guarded = |workload: &InboundPolicy| {
        let mut policies = workload.access.iter();
        policies.any(|policy| policy.invalid || !policy.dry_run)
    };
    (is_guarded(old) && !is_guarded(new)).then_some(open_to(new.mtls))
}

/// Who may call where no AccessPolicy refuses anything.
pub(super) fn open_to(mtls: MtlsMode) -> &'static str {
    match mtls {
        MtlsMode::Strict => "every workload of the mesh",
        MtlsMode::Permissive => "everybody",
    }
}

fn what<T: PartialEq>(
    old: Option<&T>,
    new: Option<&T>,
    parts: fn(&T, &T) -> Vec<&'static str>,
) -> Vec<&'static str> {
    match (old, new) {
        (None, None) => Vec::new(),
        (None, Some(_)) => vec!["added"],
        (Some(_), None) => vec!["deleted"],
        (Some(old), Some(new)) if old == new => Vec::new(),
        (Some(old), Some(new)) => {
            let parts = parts(old, new);
            if parts.is_empty() {
                vec!["other"]
            } else {
                parts
            }
        }
    }
}

fn differing(parts: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = parts.iter().filter(|(_, same)| !same);
    differing.map(|(part, _)| *part).collect()
}

fn service(old: &Service, new: &Service) -> Vec<&'static str> {
    differing(&[
        ("ports", old.ports == new.ports),
        ("addresses", old.virtual_addresses == new.virtual_addresses),
        ("identities", old.identities == new.identities),
        ("policy", old.policy == new.policy),
        ("routes", old.routes == new.routes),
        ("connection routes", old.streams == new.streams),
    ])
}

fn inbound(old: &InboundPolicy, new: &InboundPolicy) -> Vec<&'static str> {
    differing(&[
        ("ports", old.ports == new.ports),
        ("mtls.mode", old.mtls == new.mtls),
        (
            "tokens",
            (&old.authentication, &old.claim_headers) == (&new.authentication, &new.claim_headers),
        ),
        ("access", old.access == new.access),
        ("rate limits", old.rate_limits == new.rate_limits),
        ("health check", old.health_check == new.health_check),
        ("telemetry", old.telemetry == new.telemetry),
        ("timeouts.idle", old.idle == new.idle),
        ("zone", old.zone == new.zone),
        ("outboundTraffic", old.outbound == new.outbound),
    ])
}

fn gateway(old: &Gateway, new: &Gateway) -> Vec<&'static str> {
    let shape = |gateway: &Gateway| -> Vec<_> {
        let listeners = gateway.listeners.iter();
        let one = listeners.map(|one| {
            (
                one.name.clone(),
                one.port,
                one.hostname.clone(),
                one.protocol,
            )
        });
        one.collect()
    };
    let certificates = |gateway: &Gateway| -> Vec<_> {
        let listeners = gateway.listeners.iter();
        listeners.map(|one| one.certificates.clone()).collect()
    };
    let routes = |gateway: &Gateway| -> Vec<_> {
        let listeners = gateway.listeners.iter();
        listeners
            .map(|one| (one.routes.clone(), one.streams.clone()))
            .collect()
    };
    differing(&[
        ("listeners", shape(old) == shape(new)),
        ("certificates", certificates(old) == certificates(new)),
        (
            "tokens",
            (&old.authentication, &old.route_authentication)
                == (&new.authentication, &new.route_authentication),
        ),
        (
            "rate limits",
            (&old.rate_limits, &old.route_limits) == (&new.rate_limits, &new.route_limits),
        ),
        ("routes", routes(old) == routes(new)),
    ])
}

#[cfg(test)]
mod tests;
